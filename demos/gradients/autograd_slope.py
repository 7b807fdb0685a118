"""What autograd calls a slope: 0 at ReLU's kink, 0 for rounding, at most 1/4 for sigmoid, 0 at 10 in float16.

One activation φ of a single number in `dtype`, differentiated by autograd at x and on 2401 equally spaced points of
[−r, r], r = max(6, 1.2·|x|), 0 among them. Beside it the difference quotients of φ from the left and from the right
in float64 with step 1e-6. step = (sign + 1)/2; round is to the nearest whole number; round_ste is x + (round(x) − x)
with the bracket cut off from the gradient (straight-through); leaky has slope 0.01. `layers` says how often the
largest slope is multiplied by itself: with weights of spectral norm 1 no net of so many layers passes on more.

Theory: σ′ = σ(1 − σ) ≤ 1/4, at 0; σ(10) rounds to 1 in float16, so that σ(1 − σ) is 0 there; in float32 the same
happens above 17.3. At a kink every number between the two one-sided slopes is a subgradient; frameworks take 0 for
ReLU and for |x|. Source: Griewank & Walther 2008; Bengio, Léonard & Courville 2013; Glorot, Bordes & Bengio 2011.
"""

from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, as everybody calls it

TITLE = {"zh": "自动微分给出的斜率", "en": "The slope according to autograd"}
PARAMS = {
    "act": {"zh": "函数", "en": "function"},
    "x": {"zh": "在哪一点求导", "en": "where the slope is taken", "ge": -100, "le": 100},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 1000},
}
COLUMNS = {
    "x": {"zh": "输入 x", "en": "input x"},
    "value": {"zh": "函数值", "en": "value"},
    "slope": {"zh": "自动微分的斜率", "en": "slope by autograd"},
}
METRICS = {
    "value": {"zh": "x 处的函数值", "en": "value at x"},
    "slope": {"zh": "x 处自动微分的斜率", "en": "slope at x by autograd"},
    "slope_float64": {"zh": "同上，用 float64", "en": "the same in float64"},
    "left_slope": {"zh": "从左边量的斜率", "en": "slope from the left"},
    "right_slope": {"zh": "从右边量的斜率", "en": "slope from the right"},
    "kink": {"zh": "左右斜率之差", "en": "difference of the two"},
    "max_slope": {"zh": "最大的斜率", "en": "largest slope"},
    "max_slope_at": {"zh": "最大斜率的位置（离 0 最近处）", "en": "where it is largest, nearest to 0"},
    "zero_share": {"zh": "斜率恰好为 0 的点所占比例", "en": "fraction of points with slope exactly 0"},
    "left_after_layers": {"zh": "最大斜率连乘各层之后", "en": "largest slope, multiplied over the layers"},
    "slope_after_layers": {"zh": "x 处斜率连乘各层之后", "en": "slope at x, multiplied over the layers"},
}
CHART = {
    "transform": [{"fold": ["value", "slope"], "as": ["series", "height"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "height", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the sigmoid's slope on the way to x, every operation in the format
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "sigmoid_slope", "spacing": "even", "n": 100},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky": lambda x: F.leaky_relu(x, 0.01),
    "gelu": F.gelu,
    "softplus": F.softplus,
    "hardsigmoid": F.hardsigmoid,
    "abs": torch.abs,
    "step": lambda x: (x.sign() + 1) / 2,
    "round": torch.round,
    "round_ste": lambda x: x + (x.round() - x).detach(),
}
H = 1e-6


def run(
    act: Literal[
        "sigmoid", "tanh", "relu", "leaky", "gelu", "softplus", "hardsigmoid", "abs", "step", "round", "round_ste"
    ] = "sigmoid",
    x: float = 0.0,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float64",
    layers: int = 10,
) -> Generator[Row, None, Metrics]:
    f = FUNCTIONS[act]
    reach = max(6.0, 1.2 * abs(x))
    grid = (torch.arange(-1200, 1201, dtype=torch.float64) * (reach / 1200)).to(getattr(torch, dtype))
    values, slopes = differentiate(f, grid)
    for i in range(0, 2401, 10):
        yield {"x": grid[i].item(), "value": values[i].item(), "slope": slopes[i].item()}
    here = torch.tensor([x], dtype=torch.float64)
    value, slope = differentiate(f, here.to(grid.dtype))
    left = float((f(here) - f(here - H)) / H)
    right = float((f(here + H) - f(here)) / H)
    largest = slopes.double().max().item()
    where = grid[slopes == slopes.max()]
    return {
        "value": value.item(),
        "slope": slope.item(),
        "slope_float64": differentiate(f, here)[1].item(),
        "left_slope": left,
        "right_slope": right,
        "kink": abs(right - left),
        "max_slope": largest,
        "max_slope_at": where[where.abs().argmin()].item(),
        "zero_share": (slopes == 0).double().mean().item(),
        "left_after_layers": largest**layers,
        "slope_after_layers": slope.double().item() ** layers,
    }


def differentiate(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The function and its derivative by autograd at every x."""
    leaf = x.clone().requires_grad_()
    value = f(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
