"""Tests the experiment norm_eps against numpy's float16 and against the limits of the format."""

import math

import numpy as np
import pytest
from oracles import draws, measured


def row(seed: int, n: int) -> np.ndarray:
    (u,) = draws(seed, (n,), double=True)
    return (u - u.mean()) / u.std()


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("x", [1e-3, 1.0, 30.0])
def test_float16_by_numpy(kind, x):
    """Numpy rounds each float16 operation; its mean accumulates in float32, too."""
    with np.errstate(all="ignore"):
        v = (row(0, 512) * x).astype(np.float16)
        c = v - v.astype(np.float32).mean().astype(np.float16) if kind == "layer" else v
        var = (c * c).astype(np.float32).mean().astype(np.float16)
        expected = c / np.sqrt(var + np.float16(1e-5))
    metrics = measured("norm_eps", kind=kind, x=x, eps=1e-5, n=512)
    assert metrics["naive"] == pytest.approx(np.sqrt((expected.astype(float) ** 2).mean()), rel=2e-3)
    exact = v.astype(float) - (v.astype(float).mean() if kind == "layer" else 0)
    scale = math.sqrt((exact**2).mean() / ((exact**2).mean() + 1e-5))
    assert metrics["exact"] == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_constant_rows(kind):
    """The result is nan exactly where eps is stored as 0: below half of float16's smallest number, 2⁻²⁴."""
    for eps, nan in ((0.0, 1), (1e-12, 1), (2.0**-25, 1), (2.0**-24.9, 0), (1e-5, 0)):
        metrics = measured("norm_eps", kind=kind, x=0.0, eps=eps)
        assert metrics["naive_nan"] == nan, eps
        assert (metrics["stored_eps"] == 0) == nan
        assert metrics["careful_finite"] == (eps > 0)


def test_large_rows_become_zero():
    """Rows become 0, without any nan, once a square reaches 65520; bfloat16 has no such limit."""
    for kind in ("layer", "rms"):
        metrics = measured("norm_eps", kind=kind, x=300.0, eps=1e-5)
        assert (metrics["naive"], metrics["naive_finite"], metrics["largest_square"]) == (0, 1, math.inf)
        assert metrics["careful"] == pytest.approx(1, rel=1e-3)
        assert measured("norm_eps", kind=kind, x=300.0, eps=1e-5, dtype="bfloat16")["naive"] > 0.99
