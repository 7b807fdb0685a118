"""Tests the experiment overflow_cures against the same network in numpy, in float64."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


def largest(seed: int, x: float, outliers: int) -> list[float]:
    """The largest hidden activation of each block."""
    shapes = [(64, 64), *[(64, 128), (64, 128), (128, 64)] * 4]
    h, *weights = draws(seed, *shapes)
    tops = []
    for g, a, b in zip(*[iter(weights)] * 3, strict=True):
        size = np.where(np.arange(128) < outliers, x, 1)
        inputs = h / np.sqrt((h**2).mean(1, keepdims=True))
        hidden = np.maximum(inputs @ g / 32**0.5, 0) * (inputs @ a / 32**0.5) * size
        tops.append(abs(hidden).max())
        h = h + hidden @ (b / 128**0.5 / size[:, None])
    return tops


@pytest.mark.parametrize(("x", "outliers"), [(3e5, 4), (100, 128), (1, 0)])
def test_activations_by_numpy(x, outliers):
    rows, metrics = measure("overflow_cures", 0, x=x, outliers=outliers)
    expected = largest(0, x, outliers)
    assert [row["largest"] for row in rows] == pytest.approx(expected, rel=1e-4)
    assert metrics["largest"] == pytest.approx(max(expected), rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_helps(seed):
    """Nan without a cure, finite but wrong with clamping, right to three digits with the other two."""
    metrics = measured("overflow_cures", seed)
    assert math.isnan(metrics["none"])
    assert metrics["nan_rows"] == 1
    assert metrics["clamp"] > 0.1
    assert metrics["float32"] < metrics["rescale"] < 2e-3 < metrics["bfloat16"] < 0.02


def test_without_outliers_nothing_is_wrong():
    """All that are in float16 agree."""
    metrics = measured("overflow_cures", x=1, outliers=0)
    assert metrics["none"] == metrics["clamp"] == metrics["rescale"] < 2e-3
    assert metrics["nan_rows"] == 0
