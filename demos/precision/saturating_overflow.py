"""Where overflow saturates at 65504, a scaler that looks for inf and nan never skips, and the scale grows without end.

Net: 2 - `width` - 1, ReLU, weights N(0, 1/2) and N(0, 1/(2·width)), biases 0; 256 points x ~ N(0, 1), target sin(2·x₁);
`n` steps of full gradient descent at rate `lr`. Mixed precision: float32 master weights and loss; activations and
gradients in float16, each operation rounded to it. The loss is multiplied by a scale that starts at `scale`, is halved
with a skipped step and doubled after `growth_interval` good steps in a row. Three ways, from the same weights:
inf_nan: an overflow gives inf, as IEEE 754 has it; a step whose gradients hold an inf or nan is skipped.
saturated: an overflow gives ±65504 and nan gives 0; the same test of the gradients, which can find nothing.
flagged: as saturated, but a step in which any operation overflowed is skipped: what a hardware flag is read for.
A float32 net takes the same steps without a scale.

The modes are those of Ascend NPUs, emulated: IEEE arithmetic, then what overflowed is replaced. Also computed: exp(12)
and sqrt(−1) in both modes. MSE is that of the float32 net with the weights at the end. Random: data and weights.
Source: CANN documentation, INF_NAN_MODE_ENABLE; Micikevicius et al. 2018, Mixed precision training.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

TITLE = {"zh": "溢出饱和为 65504 时的损失缩放", "en": "Loss scaling where overflow saturates at 65504"}
PARAMS = {
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
    "scale": {"zh": "初始的放大倍数", "en": "initial loss scale", "ge": 1, "le": 1e9},
    "growth_interval": {"zh": "连续几步正常后加倍", "en": "good steps before the scale doubles", "ge": 5, "le": 500},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "width": {"zh": "隐藏层宽度", "en": "hidden units", "unit": "unit", "ge": 1, "le": 64},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "fp32": {"zh": "float32", "en": "float32"},
    "inf_nan": {"zh": "溢出为 inf", "en": "overflow gives inf"},
    "saturated": {"zh": "溢出饱和，查 inf", "en": "saturates, looks for inf"},
    "flagged": {"zh": "溢出饱和，读溢出标志", "en": "saturates, reads the flag"},
    "saturated_scale": {"zh": "饱和、查 inf：放大倍数", "en": "saturates, looks for inf: scale"},
}
METRICS = {
    "inf_nan_skipped": {"zh": "溢出为 inf：跳过的步数", "en": "overflow gives inf: skipped steps"},
    "saturated_skipped": {"zh": "饱和、查 inf：跳过的步数", "en": "saturates, looks for inf: skipped steps"},
    "flagged_skipped": {"zh": "饱和、读标志：跳过的步数", "en": "saturates, reads the flag: skipped steps"},
    "missed": {"zh": "饱和、查 inf：漏掉的溢出步的比例", "en": "saturates, looks for inf: fraction of steps missed"},
    "first_missed": {"zh": "第一次漏掉溢出的步", "en": "first step missed", "unit": "step"},
    "fp32_mse": {"zh": "float32：MSE", "en": "float32: MSE"},
    "inf_nan_over_fp32": {"zh": "溢出为 inf 与 float32 的 MSE 之比", "en": "MSE, overflow gives inf, over float32"},
    "saturated_over_fp32": {"zh": "饱和、查 inf 与 float32 的 MSE 之比", "en": "MSE, saturates, over float32"},
    "flagged_over_fp32": {"zh": "饱和、读标志与 float32 的 MSE 之比", "en": "MSE, reads the flag, over float32"},
    "saturated_last_scale": {"zh": "饱和、查 inf：最后的放大倍数", "en": "saturates, looks for inf: last scale"},
    "flagged_last_scale": {"zh": "饱和、读标志：最后的放大倍数", "en": "saturates, reads the flag: last scale"},
    "exp_12": {"zh": "exp(12)，溢出为 inf", "en": "exp(12), overflow gives inf"},
    "exp_12_saturated": {"zh": "exp(12)，饱和", "en": "exp(12), saturated"},
    "sqrt_saturated": {"zh": "sqrt(−1)，饱和", "en": "sqrt(−1), saturated"},
}
CHART = {
    "transform": [{"fold": ["fp32", "inf_nan", "saturated", "flagged"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Weights = list[Tensor]


@dataclass
class Half:
    """float16 in one of the modes of overflow, and whether an operation has overflowed since `overflowed` was reset."""

    saturates: bool
    overflowed: bool = False

    def __call__(self, value: Tensor) -> Tensor:
        """The result of an operation, which comes in float16 as IEEE 754 has it, as this mode stores it."""
        if is_finite(value):
            return value
        self.overflowed = True
        return value.nan_to_num(0.0) if self.saturates else value


@dataclass
class Run:
    """One way to train: its weights in float32, its loss scale, and what has happened so far."""

    weights: Weights
    scale: float
    half: Half
    reads_flag: bool = False
    good: int = 0
    skipped: int = 0
    missed: list[int] = field(default_factory=list)  # steps that overflowed and were taken all the same


def run(
    n: int = 300, scale: float = 65536.0, growth_interval: int = 10, lr: float = 0.05, width: int = 32
) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 2)
    y = (2 * x[:, :1]).sin()
    start = [torch.randn(2, width) * 0.5**0.5, torch.zeros(width), torch.randn(width, 1) * (0.5 / width) ** 0.5]
    start.append(torch.zeros(1))
    exact = start
    runs = {
        "inf_nan": Run(start, scale, Half(saturates=False)),
        "saturated": Run(start, scale, Half(saturates=True)),
        "flagged": Run(start, scale, Half(saturates=True), reads_flag=True),
    }
    every = max(1, n // 50)
    yield row(0, exact, runs, x, y)
    for step in range(1, n + 1):
        exact = descend(exact, gradients(exact, x, y, 1.0, Half(saturates=False)), lr)
        for one in runs.values():
            train(one, step, x, y, lr, growth_interval)
        if step % every == 0 or step == n:
            yield row(step, exact, runs, x, y)
    mse = {kind: mean_error(one.weights, x, y) for kind, one in runs.items()}
    fp32_mse = mean_error(exact, x, y)
    twelve, minus_one = torch.tensor([12.0], dtype=torch.float16), torch.tensor([-1.0], dtype=torch.float16)
    saturated = runs["saturated"]
    return (
        {f"{kind}_skipped": one.skipped for kind, one in runs.items()}
        | {f"{kind}_over_fp32": mse[kind] / fp32_mse if fp32_mse else math.nan for kind in runs}
        | {
            "missed": len(saturated.missed) / n,
            "first_missed": saturated.missed[0] if saturated.missed else None,
            "fp32_mse": fp32_mse,
            "saturated_last_scale": saturated.scale,
            "flagged_last_scale": runs["flagged"].scale,
            "exp_12": float(twelve.exp()),
            "exp_12_saturated": float(Half(saturates=True)(twelve.exp())),
            "sqrt_saturated": float(Half(saturates=True)(minus_one.sqrt())),
        }
    )


def row(step: int, exact: Weights, runs: dict[str, Run], x: Tensor, y: Tensor) -> Row:
    """The errors of all four nets, and the scale of the saturated one."""
    errors = {kind: mean_error(one.weights, x, y) for kind, one in runs.items()}
    scale = runs["saturated"].scale
    return {"step": step, "fp32": mean_error(exact, x, y), **errors, "saturated_scale": scale}


def train(one: Run, step: int, x: Tensor, y: Tensor, lr: float, growth_interval: int) -> None:
    """One step, or a skipped one."""
    one.half.overflowed = False
    work = [w.half() for w in one.weights]
    grads = gradients(work, x, y, one.scale, one.half)
    bad = one.half.overflowed if one.reads_flag else not all(map(is_finite, grads))
    if bad:
        one.scale, one.good, one.skipped = one.scale / 2, 0, one.skipped + 1
        return
    if one.half.overflowed:
        one.missed.append(step)
    one.weights = descend(one.weights, [g.float() / one.scale for g in grads], lr)
    one.good += 1
    if one.good == growth_interval:
        one.scale, one.good = one.scale * 2, 0


def gradients(weights: Weights, x: Tensor, y: Tensor, scale: float, half: Half) -> Weights:
    """Gradients of scale·MSE by hand, in the weights' format; each operation ends in `half`, the loss is float32."""
    w1, b1, w2, b2 = weights
    x = x.to(w1.dtype)
    hidden = half(x @ w1 + b1).relu()
    out = half(hidden @ w2 + b2)
    d_out = half(((out.float() - y) * (2 * scale / len(x))).to(w1.dtype))
    d_hidden = half(d_out @ w2.T) * (hidden > 0)
    return [half(x.T @ d_hidden), half(d_hidden.sum(0)), half(hidden.T @ d_out), half(d_out.sum(0))]


def is_finite(values: Tensor) -> bool:
    """Whether all are: then their sum in float64, which is beyond reach of these formats, is finite too."""
    return math.isfinite(values.sum(dtype=torch.float64).item())


def descend(weights: Weights, grads: Weights, lr: float) -> Weights:
    """One step of gradient descent."""
    return [w - lr * g for w, g in zip(weights, grads, strict=True)]


def mean_error(weights: Weights, x: Tensor, y: Tensor) -> float:
    w1, b1, w2, b2 = weights
    return float((torch.relu(x @ w1 + b1) @ w2 + b2 - y).double().square().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for values in show():
        print(values)
