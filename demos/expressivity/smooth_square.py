"""Two GELU units draw a parabola that no two ReLUs can: a smooth activation is itself curved near 0.

On [−1, 1], x² ≈ (g(hx) + g(−hx) − 2g(0)) / (g''(0)·h²) for an activation g, evaluated in `dtype` at 2001 points; the
hidden weights are ±h, the output weight 1/(g''(0)·h²). Nothing is random, nothing is trained.
Theory: the even part of g beyond the square leaves an error of h²/6 (GELU), h²/12 (SiLU), h²/24 (softplus) as h → 0.
ReLU has no curvature anywhere: its two units give |x|/h, here scaled to |x|, and the error ¼ whatever h is. Rounding
adds an error of about eps/h (GELU, SiLU) or eps/h² (softplus, whose g(0) is not 0), so h cannot be made too small.
Beside it, how many pieces a ReLU broken line needs for the same error on [−1, 1]: the least k with 1/k² ≤ error.
Source: Taylor expansion; Hendrycks & Gimpel 2016, Gaussian error linear units.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

TITLE = {"zh": "用两个平滑单元画抛物线", "en": "A parabola from two smooth units"}
PARAMS = {
    "h": {"zh": "隐藏层的权重 h", "en": "hidden weight h", "ge": 1e-6, "le": 10},
    "act": {"zh": "激活函数", "en": "activation"},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "h": {"zh": "隐藏层的权重 h", "en": "hidden weight h"},
    "measured": {"zh": "两个单元，实测误差", "en": "two units, measured error"},
    "theory": {"zh": "两个单元，理论误差", "en": "two units, error in theory"},
    "relu": {"zh": "两个 ReLU", "en": "two ReLUs"},
}
METRICS = {
    "max_err": {"zh": "最大误差", "en": "largest error"},
    "theory_err": {"zh": "理论误差", "en": "error in theory"},
    "err_over_theory": {"zh": "误差 / 理论", "en": "error / theory"},
    "relu_err": {"zh": "两个 ReLU 的误差", "en": "error of two ReLUs"},
    "relu_pieces": {"zh": "ReLU 折线达到同样误差要几段", "en": "ReLU pieces for the same error"},
    "output_weight": {"zh": "输出层的权重", "en": "output weight"},
    "best_h": {"zh": "该类型里误差最小的 h", "en": "h with the least error in this dtype"},
    "best_err": {"zh": "该类型里的最小误差", "en": "least error in this dtype"},
}
CHART = {
    "transform": [{"fold": ["measured", "theory", "relu"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "h", "type": "quantitative", "scale": {"type": "log", "nice": False}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the second difference of a curve over h², down to the h that was asked for
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "second_difference", "spacing": "halving", "n": 10, "x": ["h"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]
UNITS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {  # g, g''(0), error / h²
    "gelu": (functional.gelu, math.sqrt(2 / math.pi), 1 / 6),
    "silu": (functional.silu, 0.5, 1 / 12),
    "softplus": (functional.softplus, 0.25, 1 / 24),
}
SWEEP = [10 ** (exponent / 10) for exponent in range(-50, 11)]


def run(
    h: float = 0.1,
    act: Literal["gelu", "silu", "softplus", "relu"] = "gelu",
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float64",
) -> Generator[Row, None, Metrics]:
    relu = largest_error("relu", h, dtype)
    errors: dict[float, float] = {}
    for at in sorted({*SWEEP, h}):
        errors[at] = largest_error(act, at, dtype)
        yield {"h": at, "measured": errors[at], "theory": in_theory(act, at), "relu": relu}
    error, theory = errors[h], in_theory(act, h)
    best = min((at for at in errors if math.isfinite(errors[at])), key=lambda at: errors[at])
    return {
        "max_err": error,
        "theory_err": theory,
        "err_over_theory": error / theory,
        "relu_err": relu,
        "relu_pieces": math.ceil(1 / math.sqrt(error) - 1e-9) if 0 < error < math.inf else None,
        "output_weight": 1 / h if act == "relu" else 1 / (UNITS[act][1] * h * h),
        "best_h": best,
        "best_err": errors[best],
    }


def largest_error(act: str, h: float, dtype: str) -> float:
    """Of the two units against x² on [−1, 1]; inf or nan where the format gives such."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    t = (h * x).to(getattr(torch, dtype))
    if act == "relu":
        units, weight = t.relu() + (-t).relu(), 1 / h
    else:
        g, bend, _ = UNITS[act]
        units, weight = g(t) + g(-t) - 2 * g(torch.zeros_like(t)), 1 / (bend * h * h)
    return float((units * torch.tensor(weight, dtype=t.dtype) - x.square()).abs().max())


def in_theory(act: str, h: float) -> float:
    """The leading term of the error, without rounding; ¼ for ReLU."""
    return 0.25 if act == "relu" else UNITS[act][2] * h * h


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
