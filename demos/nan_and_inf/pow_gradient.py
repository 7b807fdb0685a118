"""A power below 1 has slope inf at 0, and nan once that meets a zero factor; clamp the base, or work with logarithms.

A power is evaluated in float32 at `x`, and at 40 further points to the right of it, 0.05 apart, as people write it
(naive) and with a cure; autograd gives both slopes in x.

power      x^p                          against max(x, eps)^p
square     (x²)^p                       against max(x², eps)^p
root       x^p, x may be negative       against sign(x)·max(|x|, eps)^p, an odd root
focal      (1 − s)^p·(−log s)           against −exp(p·log s(−x))·log s(x), s = sigmoid, by logsigmoid

The slope of x^p is p·x^(p−1): inf at 0 for p < 1, and nan for x < 0 unless p is a whole number. The square sends that
inf on times 0: nan. (relu does not: its backward selects.) In the focal loss 1 − s is exactly 0 in float32 from a logit
of about 17 on; the other factor, −log s, is 0 there, and 0·inf is nan, for p < 1. The cured slope is 0 where the clamp
holds; just above eps the slope of x^p is p·eps^(p−1), its largest. Nothing is random.
Source: Lin et al. 2017, Focal loss for dense object detection, ICCV.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

TITLE = {"zh": "底数为 0 的幂：值正常，斜率 inf 或 nan", "en": "A power of 0: fine value, slope inf or nan"}
PARAMS = {
    "case": {"zh": "公式", "en": "formula"},
    "x": {"zh": "底数（focal：logit）", "en": "base (focal: logit)", "ge": -1000, "le": 1000},
    "p": {"zh": "指数", "en": "exponent", "ge": 0, "le": 10},
    "eps": {"zh": "eps", "en": "eps", "ge": 1e-12, "le": 0.1},
}
COLUMNS = {
    "x": {"zh": "x", "en": "x"},
    "naive": {"zh": "直接写", "en": "naive"},
    "cured": {"zh": "改写后", "en": "cured"},
    "naive_slope": {"zh": "直接写：斜率", "en": "naive: slope"},
    "cured_slope": {"zh": "改写后：斜率", "en": "cured: slope"},
}
METRICS = {
    "naive": {"zh": "直接写的值", "en": "value, naive"},
    "naive_slope": {"zh": "直接写的斜率", "en": "slope, naive"},
    "cured": {"zh": "改写后的值", "en": "value, cured"},
    "cured_slope": {"zh": "改写后的斜率", "en": "slope, cured"},
    "plus_eps_slope": {"zh": "(x + eps)^p 的斜率", "en": "slope of (x + eps)^p"},
    "bad_slopes": {"zh": "直接写：41 个点中斜率不是有限数的", "en": "naive: non-finite slopes among 41 points"},
    "cured_bad_slopes": {"zh": "改写后：不是有限数的斜率", "en": "cured: non-finite slopes"},
}
CHART = {
    "transform": [{"fold": ["naive_slope", "cured_slope"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    case: Literal["power", "square", "root", "focal"] = "power", x: float = 0.0, p: float = 0.3, eps: float = 1e-6
) -> Generator[Row, None, Metrics]:
    points = x + 0.05 * torch.arange(41, dtype=torch.float64)
    naive, naive_slope = value_and_slope(points, lambda v: written(case, v, p))
    cured, cured_slope = value_and_slope(points, lambda v: rewritten(case, v, p, eps))
    for place, *numbers in zip(points.tolist(), naive, cured, naive_slope, cured_slope, strict=True):
        yield {"x": place} | dict(zip(("naive", "cured", "naive_slope", "cured_slope"), numbers, strict=True))
    _, plus_eps = value_and_slope(points[:1], lambda v: (v + eps) ** p)
    return {
        "naive": naive[0],
        "naive_slope": naive_slope[0],
        "cured": cured[0],
        "cured_slope": cured_slope[0],
        "plus_eps_slope": plus_eps[0],
        "bad_slopes": sum(not math.isfinite(slope) for slope in naive_slope),
        "cured_bad_slopes": sum(not math.isfinite(slope) for slope in cured_slope),
    }


def written(case: str, x: Tensor, p: float) -> Tensor:
    """The formula as people write it."""
    if case == "focal":
        s = torch.sigmoid(x)
        return (1 - s) ** p * -s.log()
    return x.square() ** p if case == "square" else x**p


def rewritten(case: str, x: Tensor, p: float, eps: float) -> Tensor:
    """The same with its cure."""
    if case == "focal":
        return -(p * logsigmoid(-x)).exp() * logsigmoid(x)
    if case == "root":
        return x.sign() * x.abs().clamp(min=eps) ** p
    return (x.square() if case == "square" else x).clamp(min=eps) ** p


def value_and_slope(points: Tensor, formula: Callable[[Tensor], Tensor]) -> tuple[list[float], list[float]]:
    """The formula and its derivative by autograd at each point, in float32."""
    x = points.float().requires_grad_()
    y = formula(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return y.tolist(), slope.tolist()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
