"""A ReLU network draws a broken line: with k pieces its error on a smooth curve falls as 1/k².

The curve f on [lo, hi] is replaced by k chords of equal width, written as one hidden layer of k ReLUs whose weights
are set by hand, f(lo) + s₀·relu(x − x₀) + Σ (s_j − s_{j−1})·relu(x − x_j), where s_j is the slope of chord j. Nothing
is random, nothing is trained; float64. Targets: x^d, sin x, and two that are not smooth: sqrt is √|x| (the slope at 0
is infinite), abs is |x − 1/3| (a kink). The error is the largest on at least 12 points per piece.
Theory: max error ≤ max|f''|·(hi − lo)²/(8k²), which needs a finite f''. The rate is the least-squares slope of
ln error on ln k over k = 4, 8, …, 128 (32, 64, 128 for x^5 and above and for sin, whose bends want more pieces).
Beside it, always for x² on [0, 1], the deep sawtooth network x − Σ gˢ(x)/4ˢ, g(t) = 2relu(t) − 4relu(t − ½) +
2relu(t − 1): m layers of 3 ReLUs make 2^m pieces, error 4^−(m+1), down to the rounding of float64.
Sources: Yarotsky 2017, Error bounds for approximations with deep ReLU networks, Neural Networks 94; Telgarsky 2016,
Benefits of depth in neural networks, COLT.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "用 ReLU 折线拟合曲线", "en": "Fitting a curve with a ReLU broken line"}
PARAMS = {
    "target": {"zh": "要拟合的曲线", "en": "curve to fit"},
    "k": {"zh": "折线段数", "en": "straight pieces", "ge": 1, "le": 2000},
    "lo": {"zh": "区间左端", "en": "left end", "ge": -10, "le": 10},
    "hi": {"zh": "区间右端", "en": "right end", "ge": -10, "le": 10},
}
LIMITS = [{"ascending": ["lo", "hi"]}]
COLUMNS = {
    "relus": {"zh": "ReLU 个数", "en": "number of ReLUs"},
    "one_layer": {"zh": "一个隐藏层，实测", "en": "one hidden layer, measured"},
    "bound": {"zh": "一个隐藏层，理论上界", "en": "one hidden layer, bound in theory"},
    "sawtooth": {"zh": "深层锯齿网络（x²）", "en": "deep sawtooth network (x²)"},
}
METRICS = {
    "max_err": {"zh": "最大误差", "en": "largest error"},
    "theory_max_err": {"zh": "误差的理论上界", "en": "bound on the error in theory"},
    "err_over_theory": {"zh": "误差 / 上界", "en": "error / bound"},
    "theory_pieces_0_001": {"zh": "理论上误差降到 0.001 需要的段数", "en": "pieces for an error of 0.001 in theory"},
    "rate_slope": {"zh": "误差随 k 变化的指数", "en": "exponent of the error in k"},
    "rate_off_two": {"zh": "该指数与 −2 的偏离", "en": "distance of that exponent from −2"},
    "deep_layers": {"zh": "达到同样精度的锯齿网络的层数", "en": "layers of the equally accurate sawtooth network"},
    "deep_relus": {"zh": "该锯齿网络的 ReLU 个数", "en": "ReLUs in that sawtooth network"},
    "deep_err": {"zh": "该锯齿网络的误差（x²，[0, 1]）", "en": "its error (x² on [0, 1])"},
    "theory_deep_err": {"zh": "该锯齿网络的理论误差", "en": "its error in theory"},
    "deep_saving": {"zh": "加深省下的倍数（k / 锯齿的 ReLU 数）", "en": "saving by depth (k / sawtooth ReLUs)"},
}
CHART = {
    "transform": [{"fold": ["one_layer", "bound", "sawtooth"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "relus", "type": "quantitative", "scale": {"type": "log", "nice": False}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
        "strokeDash": {
            "field": "series",
            "type": "nominal",
            "scale": {"domain": ["one_layer", "bound", "sawtooth"], "range": [[1, 0], [5, 5], [1, 0]]},
            "legend": None,
        },
    },
}

Row = dict[str, float | None]
Metrics = dict[str, float | None]
KINK = 1 / 3


def run(
    target: Literal[
        "x^1", "x^2", "x^3", "x^4", "x^5", "x^6", "x^7", "x^8", "x^9", "x^10", "sqrt", "abs", "sin"
    ] = "x^2",
    k: int = 8,
    lo: float = 0.0,
    hi: float = 1.0,
) -> Generator[Row, None, Metrics]:
    errors: dict[int, float] = {}
    bend = max_second_derivative(target, lo, hi)
    per_k2 = None if bend is None else bend * (hi - lo) ** 2 / 8
    for pieces in sorted({1, 2, 4, 8, 16, 32, 64, 128, k}):
        errors[pieces] = largest_error(target, pieces, lo, hi)
        bound = None if per_k2 is None else per_k2 / pieces**2
        yield {"relus": pieces, "one_layer": errors[pieces], "bound": bound, "sawtooth": sawtooth_error(pieces // 3)}
    fitted = (32, 64, 128) if target == "sin" or degree(target) >= 5 else (4, 8, 16, 32, 64, 128)
    slope = loglog_slope({pieces: errors[pieces] for pieces in fitted})
    theory = None if per_k2 is None else per_k2 / k**2
    layers = max(1, math.ceil(math.log2(k)))
    return {
        "max_err": errors[k],
        "theory_max_err": theory,
        "err_over_theory": errors[k] / theory if theory else None,
        "theory_pieces_0_001": None if per_k2 is None else max(1, math.ceil(math.sqrt(per_k2 / 1e-3))),
        "rate_slope": slope,
        "rate_off_two": None if slope is None else abs(slope + 2),
        "deep_layers": layers,
        "deep_relus": 3 * layers,
        "deep_err": sawtooth_error(layers),
        "theory_deep_err": 4.0 ** -(layers + 1),
        "deep_saving": k / (3 * layers),
    }


def degree(target: str) -> int:
    """The exponent of "x^d"; 0 for the other curves."""
    return int(target[2:]) if target.startswith("x^") else 0


def curve(target: str, x: torch.Tensor) -> torch.Tensor:
    """The target at x."""
    match target:
        case "sqrt":
            return x.abs().sqrt()
        case "abs":
            return (x - KINK).abs()
        case "sin":
            return x.sin()
    return x ** degree(target)


def max_second_derivative(target: str, lo: float, hi: float) -> float | None:
    """The largest |f''| on [lo, hi]; None where it is infinite."""
    match target:
        case "sqrt":
            nearest = 0 if lo <= 0 <= hi else min(abs(lo), abs(hi))
            return 0.25 * nearest**-1.5 if nearest > 1e-12 else None
        case "abs":
            return None if lo < KINK < hi else 0.0
        case "sin":
            peak = math.floor(hi / math.pi - 0.5) >= math.ceil(lo / math.pi - 0.5)  # some π/2 + nπ lies inside
            return 1.0 if peak else max(abs(math.sin(lo)), abs(math.sin(hi)))
    d = degree(target)
    return float(d * (d - 1) * max(abs(lo), abs(hi)) ** max(d - 2, 0))


def largest_error(target: str, k: int, lo: float, hi: float) -> float:
    """Build the network of k ReLUs that joins k + 1 points of the curve and compare it with the curve in between."""
    knots = torch.linspace(lo, hi, k + 1, dtype=torch.float64)
    heights = curve(target, knots)
    slopes = heights.diff() / knots.diff()
    weights = slopes.diff(prepend=torch.zeros(1, dtype=torch.float64))
    points = torch.linspace(lo, hi, k * 12 * max(1, 1600 // k) + 1, dtype=torch.float64)
    net = torch.cat([heights[0] + (block[:, None] - knots[:-1]).relu() @ weights for block in points.split(2000)])
    return float((net - curve(target, points)).abs().max())


def sawtooth_error(layers: int) -> float:
    """The largest error of the deep network on x² over [0, 1], measured at centres and ends of its 2^layers pieces."""
    layers = min(layers, 26)  # whatever comes after is below the rounding of float64
    halves = 2 ** (layers + 1)
    x = torch.arange(0, halves + 1, max(1, halves // 4096), dtype=torch.float64)
    x = torch.cat([x, (x + 1).clamp(max=halves)]) / halves
    wave, total = x, x
    for layer in range(1, layers + 1):
        wave = 2 * wave.relu() - 4 * (wave - 0.5).relu() + 2 * (wave - 1).relu()
        total = total - wave / 4**layer
    return float((total - x**2).abs().max())


def loglog_slope(errors: dict[int, float]) -> float | None:
    """The least-squares slope of ln error on ln k; None where there is nothing but rounding to fit."""
    if not all(1e-14 < error < math.inf for error in errors.values()):
        return None
    x = [math.log(k) for k in errors]
    y = [math.log(error) for error in errors.values()]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
