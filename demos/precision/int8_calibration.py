"""Stray values among the calibration inputs stretch int8's step; a percentile drops them, nothing mends a wrong scale.

Calibration: `samples` images of 1024 activations, N(0, 1), times `scale` (what a different preprocessing does), and
`stray` entries among them equal to x. From these |values| the largest representable one, amax, is chosen: the largest
(largest); their percentile `percent` (percentile); the amax of least squared error, 60 candidates in geometric order
(squares); the amax of least KL divergence of a histogram of 2048 bins from 0 to the largest value, of which at least
128 are kept, in steps of 16 (divergence, as TensorRT's entropy calibration, Migacz 2017). In use: 65,536 fresh
activations, N(0, 1), `in_use` of which equal x; they are clamped to ±amax and rounded to multiples of
amax/(2^(bits−1) − 1).

Measured: the rms error of the activations in use over their rms. Theory: a step d gives d/√12 and turns everything
below d/2 into 0, erf(d/√8) of all; 128 bins of 2048 bound the amax of the divergence from below by 1/16 of the largest.
Random: the activations.
Source: Migacz 2017, 8-bit inference with TensorRT; Wu et al. 2020, arXiv:2004.09602.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "int8 校准：怎样定量化范围", "en": "int8 calibration: how the range is chosen"}
PARAMS = {
    "x": {"zh": "离群值的大小", "en": "size of the stray values", "ge": 1, "le": 1e6},
    "stray": {"zh": "校准集里的离群值个数", "en": "stray values in the calibration set", "ge": 0, "le": 1000},
    "in_use": {"zh": "使用时的离群值个数", "en": "stray values in use", "ge": 0, "le": 1000},
    "samples": {"zh": "校准图片数", "en": "calibration images", "ge": 1, "le": 128},
    "scale": {"zh": "校准输入与实际输入之比", "en": "calibration inputs over inputs in use", "ge": 1e-4, "le": 1e4},
    "percent": {"zh": "百分位", "en": "percentile", "ge": 90, "le": 100, "unit": "%"},
    "bits": {"zh": "位数", "en": "bits", "ge": 4, "le": 12},
}
COLUMNS = {
    "size": {"zh": "离群值的大小", "en": "size of the stray values"},
    "largest": {"zh": "取最大值", "en": "largest value"},
    "percentile": {"zh": "取百分位", "en": "percentile"},
    "squares": {"zh": "平方误差最小", "en": "least squared error"},
    "divergence": {"zh": "KL 散度最小", "en": "least KL divergence"},
}
METRICS = {
    "largest": {"zh": "取最大值：误差", "en": "largest value: error"},
    "percentile": {"zh": "取百分位：误差", "en": "percentile: error"},
    "squares": {"zh": "平方误差最小：误差", "en": "least squared error: error"},
    "divergence": {"zh": "KL 散度最小：误差", "en": "least KL divergence: error"},
    "zeros": {"zh": "取最大值：变成 0 的比例", "en": "largest value: fraction that becomes 0"},
    "clipped": {"zh": "取百分位：被截断的比例", "en": "percentile: fraction that is clamped"},
    "amax_largest": {"zh": "取最大值：范围", "en": "largest value: range"},
    "amax_percentile": {"zh": "取百分位：范围", "en": "percentile: range"},
    "amax_divergence": {"zh": "KL 散度最小：范围", "en": "least KL divergence: range"},
}
CHART = {
    "transform": [{"fold": ["largest", "percentile", "squares", "divergence"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

VALUES = 1024
"""Activations of an image."""
BINS = 2048
LEVELS = 128
"""Bins that are kept at least, and the positive levels that they are merged to."""
STRIDE = 16

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 300.0,
    stray: int = 20,
    in_use: int = 0,
    samples: int = 64,
    scale: float = 1.0,
    percent: float = 99.9,
    bits: int = 8,
) -> Generator[Row, None, Metrics]:
    seen = torch.randn(samples * VALUES, dtype=torch.float64).abs() * scale
    used = torch.randn(64 * VALUES, dtype=torch.float64)

    def ranges(size: float) -> dict[str, Tensor]:
        values = seen.clone()
        values[:stray] = size
        return {
            "largest": values.max(),
            "percentile": torch.quantile(values, percent / 100),
            "squares": least_squares(values, bits),
            "divergence": least_divergence(values),
        }

    def error(amax: Tensor, size: float) -> float:
        values = used.clone()
        values[:in_use] = size
        return float((quantised(values, amax, bits) - values).norm() / values.norm())

    for k in range(12):
        size = 4.0 * 2.0**k
        yield {"size": size, **{way: error(amax, size) for way, amax in ranges(size).items()}}
    found = ranges(x)
    return {
        **{way: error(amax, x) for way, amax in found.items()},
        "zeros": (quantised(used[in_use:], found["largest"], bits) == 0).double().mean().item(),
        "clipped": (used[in_use:].abs() > found["percentile"]).double().mean().item(),
        "amax_largest": found["largest"].item(),
        "amax_percentile": found["percentile"].item(),
        "amax_divergence": found["divergence"].item(),
    }


def quantised(values: Tensor, amax: Tensor, bits: int) -> Tensor:
    """Clamped to ±amax, rounded to integers of that many bits and multiplied back."""
    step = amax / (2 ** (bits - 1) - 1)
    return (values.clamp(-amax, amax) / step).round() * step


def least_squares(values: Tensor, bits: int) -> Tensor:
    """The candidate for amax at which values and quantised values differ least in squares."""
    candidates = values.max() * torch.logspace(-3.5, 0, 60, dtype=torch.float64)
    return min(candidates, key=lambda amax: float((quantised(values, amax, bits) - values).square().sum()))


def least_divergence(values: Tensor) -> Tensor:
    """The amax at which the histogram that is cut there diverges least from the same one merged to 128 levels."""
    top = values.max()
    counts = torch.histc(values, BINS, 0, float(top))
    best, kept = float("inf"), BINS
    for bins in range(LEVELS, BINS + 1, STRIDE):
        cut = counts[:bins].clone()
        inside = cut > 0
        level = torch.arange(bins) * LEVELS // bins
        mass = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, level, cut)
        filled = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, level, inside.double())
        merged = torch.where(inside, (mass / filled.clamp_min(1))[level], 0.0)
        cut[-1] += counts[bins:].sum()
        p, q = cut / cut.sum(), merged / merged.sum().clamp_min(1)
        divergence = torch.where(p > 0, p * (p / q.clamp_min(1e-12)).log(), 0.0).sum().item()
        if divergence < best:
            best, kept = divergence, bins
    return top * kept / BINS


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
