"""Too large a step: the gradient grows, an activation overflows to inf, inf − inf makes nan, nan is everywhere.

A fully connected net of `layers` weight matrices, 8 - width - … - width - 1, ReLU between them, He initialisation,
no biases; inputs x ~ N(0, 1), 64 samples, target 3·x1·x2 + 5, mean squared error, full-batch gradient descent, all in
`dtype`. `n` updates at most. With `clip` > 0 the gradient is shortened to that norm before it is used. Inputs and
weights are random. Step t is the state before update number t, counted from 0. The run stops once a weight is nan.

Each step records the largest activation (outputs of all layers), loss, gradient and weight in absolute value, and the
first steps at which each of them holds an inf and a nan. Gradients are recorded before clipping. The layer in which
trouble begins is the first one whose output is not finite at the first step with such an output.
A larger lr does not always mean nan: if an update leaves every ReLU dead, the gradient is exactly 0 from then on and
the loss stays where it is. Source: Goldberg 1991; Pascanu, Mikolov & Bengio 2013; Micikevicius et al. 2018.
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "训练时 nan 从哪里来", "en": "Where nan begins in training"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1e6},
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 50},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 1, "le": 256},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "clip": {"zh": "梯度范数裁剪（0 = 不裁剪）", "en": "gradient norm clipped to (0: off)", "ge": 0, "le": 1e6},
}
LIMITS = [{"product": ["layers", "n"], "le": 10000}, {"product": ["layers", "width", "width", "n"], "le": 53000000}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "activation": {"zh": "最大激活", "en": "largest activation"},
    "loss": {"zh": "损失", "en": "loss"},
    "gradient": {"zh": "最大梯度", "en": "largest gradient"},
    "weight": {"zh": "最大权重", "en": "largest weight"},
}
METRICS = {
    "first_inf_step": {"zh": "首次出现 inf", "en": "first inf anywhere", "unit": "step"},
    "first_nan_step": {"zh": "首次出现 nan", "en": "first nan anywhere", "unit": "step"},
    "nan_after_inf": {"zh": "nan 比 inf 晚几步", "en": "steps from the first inf to the first nan", "unit": "step"},
    "first_bad_layer": {"zh": "最先出问题的是第几层", "en": "layer whose output goes wrong first", "unit": "layer"},
    "activation_inf_step": {"zh": "激活首次 inf", "en": "first inf activation", "unit": "step"},
    "activation_nan_step": {"zh": "激活首次 nan", "en": "first nan activation", "unit": "step"},
    "loss_inf_step": {"zh": "损失首次 inf", "en": "first inf loss", "unit": "step"},
    "loss_nan_step": {"zh": "损失首次 nan", "en": "first nan loss", "unit": "step"},
    "gradient_inf_step": {"zh": "梯度首次 inf", "en": "first inf gradient", "unit": "step"},
    "gradient_nan_step": {"zh": "梯度首次 nan", "en": "first nan gradient", "unit": "step"},
    "weight_inf_step": {"zh": "权重首次 inf", "en": "first inf weight", "unit": "step"},
    "weight_nan_step": {"zh": "权重首次 nan", "en": "first nan weight", "unit": "step"},
    "grad_start": {"zh": "开始时的最大梯度", "en": "largest gradient at the start"},
    "grad_max_finite": {"zh": "有限梯度的最大值", "en": "largest finite gradient"},
    "growth": {"zh": "梯度放大的倍数", "en": "growth of the gradient"},
    "loss_start": {"zh": "开始时的损失", "en": "loss at the start"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "loss_ratio": {"zh": "最后与开始的损失之比", "en": "loss at the end over loss at the start"},
    "steps_run": {"zh": "实际走的步数", "en": "steps run", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["activation", "loss", "gradient", "weight"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# gradient descent along one direction, with the curvature of the last layer, about `width`
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "descend", "x": ["lr", "width"]}}]

Row = dict[str, float]
Metrics = dict[str, float | None]
WATCHED = ("activation", "loss", "gradient", "weight")


def run(
    lr: float = 0.3,
    layers: int = 4,
    width: int = 32,
    n: int = 200,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
    clip: float = 0.0,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(64, 8)
    y = (3 * x[:, :1] * x[:, 1:2] + 5).to(getattr(torch, dtype))
    x = x.to(y.dtype)
    weights = he_net([8, *[width] * (layers - 1), 1], y.dtype)
    first: dict[str, int | None] = {f"{what}_{kind}_step": None for what in WATCHED for kind in ("inf", "nan")}
    bad_layer, grads_seen, losses, every = None, [], [], math.ceil(n / 200)
    for step in range(n):
        outputs = forward(x, weights)
        loss = (outputs[-1] - y).pow(2).mean()
        grads = torch.autograd.grad(loss, weights)
        seen = {"activation": outputs, "loss": [loss], "gradient": grads, "weight": weights}
        row: Row = {"step": step} | {what: largest(tensors) for what, tensors in seen.items()}
        news = note_first(first, step, {what: seen[what] for what in seen if not math.isfinite(row[what])})
        if bad_layer is None and not math.isfinite(row["activation"]):
            bad_layer = next((i for i, out in enumerate(outputs, 1) if not out.isfinite().all()), None)
        losses.append(row["loss"])
        grads_seen.append(row["gradient"])
        if step < 20 or step % every == 0 or news or step == n - 1:
            yield row
        if first["weight_nan_step"] is not None:
            break
        descend(weights, grads, lr, clip)
    infs = [at for name, at in first.items() if "inf" in name and at is not None]
    nans = [at for name, at in first.items() if "nan" in name and at is not None]
    peak = max((g for g in grads_seen if math.isfinite(g)), default=math.nan)
    return {
        "first_inf_step": min(infs, default=None),
        "first_nan_step": min(nans, default=None),
        "nan_after_inf": min(nans) - min(infs) if nans and infs else None,
        "first_bad_layer": bad_layer,
        "grad_start": grads_seen[0],
        "grad_max_finite": peak,
        "growth": peak / grads_seen[0] if grads_seen[0] else math.nan,
        "loss_start": losses[0],
        "loss_end": losses[-1],
        "loss_ratio": losses[-1] / losses[0] if losses[0] else math.nan,
        "steps_run": len(losses),
    } | first


def he_net(sizes: list[int], dtype: torch.dtype) -> list[Tensor]:
    """Weights drawn from N(0, 2/fan_in)."""
    scaled = [torch.randn(a, b) * math.sqrt(2 / a) for a, b in pairwise(sizes)]
    return [w.to(dtype).requires_grad_() for w in scaled]


def forward(x: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """The output of every layer, before its ReLU."""
    outputs = [x @ weights[0]]
    for w in weights[1:]:
        outputs.append(outputs[-1].relu() @ w)
    return outputs


def largest(tensors: list[Tensor] | tuple[Tensor, ...]) -> float:
    """The largest absolute value; nan as soon as there is one nan."""
    return float(torch.stack([t.detach().abs().max() for t in tensors]).max())


def note_first(first: dict[str, int | None], step: int, seen: dict[str, list[Tensor] | tuple[Tensor, ...]]) -> bool:
    """Notes inf and nan that are there for the first time; true if there was something to note."""
    news = False
    for what, tensors in seen.items():
        for kind, test in (("inf", torch.isinf), ("nan", torch.isnan)):
            if first[f"{what}_{kind}_step"] is None and any(test(t).any() for t in tensors):
                first[f"{what}_{kind}_step"] = step
                news = True
    return news


def descend(params: list[Tensor], grads: tuple[Tensor, ...], lr: float, clip: float) -> None:
    """One step of plain gradient descent; with `clip` > 0 the gradient is first shortened to that norm."""
    norm = math.sqrt(sum(g.double().pow(2).sum().item() for g in grads))
    scale = clip / norm if 0 < clip < norm else 1.0
    with torch.no_grad():
        for p, g in zip(params, grads, strict=True):
            p.sub_(lr * scale * g)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
