"""In float16 Adam's eps = 1e-8 is 0 and so is the square of a small gradient: the step is nan, inf or far too long.

The first step of Adam (β 0.9 and 0.999, lr 1, one parameter, 0 at the start, kept like its state in `dtype`; the order
of the operations is that of torch.optim.Adam), for the gradient `x` and for 161 sizes from 1e-8 to 1e8. Exactly, the
step is x/(|x| + eps): about 1 for every gradient far above eps, 0 for x = 0. In `dtype` Adam keeps (1 − 0.999)·x²,
which is 0 below a certain size; then only eps is left below the fraction, and if eps is 0 too, x/0 is inf and 0/0 is
nan. Beside it: the same gradient, rounded to `dtype`, with parameter and state in float32. Nothing is random. Source:
IEEE 754-2019; Micikevicius et al. 2018, Mixed precision training (keep master weights in float32).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "Adam 的 eps 与低精度", "en": "Adam's eps in low precision"}
PARAMS = {
    "x": {"zh": "梯度", "en": "the gradient", "nonfinite": True},
    "eps": {"zh": "Adam 的 eps", "en": "Adam's eps", "ge": 0, "le": 1},
    "dtype": {"zh": "参数与状态的数据类型", "en": "dtype of parameter and state"},
}
COLUMNS = {
    "size": {"zh": "梯度的大小", "en": "size of the gradient"},
    "in_dtype": {"zh": "状态用该类型", "en": "state in this dtype"},
    "in_float32": {"zh": "状态用 float32", "en": "state in float32"},
    "exact": {"zh": "准确值", "en": "exact"},
}
METRICS = {
    "stored_eps": {"zh": "eps 存成", "en": "eps is stored as"},
    "stored_v": {"zh": "二阶动量 0.001·x² 存成", "en": "second moment 0.001·x² is stored as"},
    "step": {"zh": "该梯度的步长，状态用该类型", "en": "step for this gradient, state in this dtype"},
    "step_float32": {"zh": "状态用 float32 的步长", "en": "step with state in float32"},
    "step_exact": {"zh": "准确的步长", "en": "exact step"},
    "step_at_zero": {"zh": "梯度为 0 时的步长", "en": "step at gradient 0"},
    "step_at_zero_float32": {"zh": "梯度为 0，状态用 float32", "en": "step at gradient 0, state in float32"},
    "nonfinite_share": {"zh": "步长是 inf 或 nan 的梯度占比", "en": "fraction of sizes whose step is inf or nan"},
    "smallest_right": {"zh": "步长还准到 10% 的最小梯度", "en": "smallest gradient with a step right to 10 %"},
    "smallest_right_float32": {"zh": "同上，状态用 float32", "en": "the same with state in float32"},
    "theory_v_is_zero_below": {"zh": "二阶动量从这里以下变成 0", "en": "second moment is 0 below"},
}
CHART = {
    "transform": [{"fold": ["in_dtype", "in_float32", "exact"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": {"size": 10}},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# Adam's first step without its eps, exactly ±1, down to the x that was asked for
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "adam_step", "spacing": "halving", "n": 12},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    x: float = 1e-3, eps: float = 1e-8, dtype: Literal["float16", "bfloat16", "float32"] = "float16"
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    sizes = [10 ** (tenth / 10) for tenth in range(-80, 81)]
    gradients = torch.tensor([*sizes, x, 0.0], dtype=torch.float64).to(form)
    here, wide = step(gradients, eps), step(gradients.float(), eps)
    exact = [g / (abs(g) + eps) if g or eps else math.nan for g in [*sizes, x, 0.0]]
    for at, size in enumerate(sizes):
        yield {"size": size, "in_dtype": here[at], "in_float32": wide[at], "exact": exact[at]}

    def smallest_right(steps: list[float]) -> float | None:
        """The size from which on the step is within 10 % of the exact one, up to size 1."""
        right = None
        for at in reversed([at for at, size in enumerate(sizes) if size <= 1]):
            if not abs(steps[at] - exact[at]) <= 0.1 * abs(exact[at]):
                return right
            right = sizes[at]
        return right

    bad = [at for at in range(len(sizes)) if not math.isfinite(here[at])]
    moment = gradients[-2:-1].float().square() * 0.001
    return {
        "stored_eps": float(torch.tensor(eps, dtype=form)),
        "stored_v": float(moment.to(form)),
        "step": here[-2],
        "step_float32": wide[-2],
        "step_exact": exact[-2],
        "step_at_zero": here[-1],
        "step_at_zero_float32": wide[-1],
        "nonfinite_share": len(bad) / len(sizes),
        "smallest_right": smallest_right(here),
        "smallest_right_float32": smallest_right(wide),
        "theory_v_is_zero_below": math.sqrt(torch.finfo(form).smallest_normal * torch.finfo(form).eps / 2 / 0.001),
    }


def step(gradients: Tensor, eps: float) -> list[float]:
    """How far the first step of Adam at lr 1 goes for each gradient, every operation rounded to their dtype."""
    zero = torch.zeros_like(gradients)
    average = zero.lerp(gradients, 1 - 0.9)
    square = zero.addcmul(gradients, gradients, value=1 - 0.999)
    denominator = square.sqrt() / math.sqrt(1 - 0.999) + eps
    return [value + 0.0 for value in zero.addcdiv(average, denominator, value=1 / (1 - 0.9)).double().tolist()]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
