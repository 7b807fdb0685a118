"""Tests the experiment direction_cosine against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize("n", [2, 3, 10, 10000, 1000000])
def test_direction_cosine_theory(n):
    """E|cos| agrees with mpmath's gamma functions: 2/π in the plane, 1/2 in space."""
    metrics = measured("direction_cosine", n=n, trials=10)
    exact = mpmath.gammaprod([mpmath.mpf(n) / 2], [mpmath.mpf(n + 1) / 2]) / mpmath.sqrt(mpmath.pi)
    assert metrics["theory_abs_cos"] == pytest.approx(float(exact), rel=1e-8)
    assert {2: 2 / math.pi, 3: 0.5}.get(n, metrics["theory_abs_cos"]) == pytest.approx(metrics["theory_abs_cos"])
    assert metrics["approximation"] == pytest.approx(math.sqrt(2 / (math.pi * n)))
    assert metrics["theory_plane_share"] == 2 / n


def test_direction_cosine_plane_share_by_projection():
    """The share of the first axis in the plane is the squared length of its projection, by numpy's QR."""
    flat = draws(0, *[(7,)] * 20)
    shares = [(np.linalg.qr(np.stack([a, b], 1))[0][0] ** 2).sum() for a, b in zip(flat[::2], flat[1::2], strict=True)]
    metrics = measured("direction_cosine", n=7, trials=10)
    assert metrics["plane_share"] == pytest.approx(np.mean(shares), rel=1e-5)
    assert metrics["mean_abs_cos"] == pytest.approx(np.mean([abs(a[0]) / np.linalg.norm(a) for a in flat[::2]]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_direction_cosine_claims(seed):
    """Random directions: a mean |cosine| of 0.008 in 10,000 dimensions, of ¼ in ten; two of them span a plane."""
    metrics = measured("direction_cosine", seed)
    assert metrics["mean_abs_cos"] == pytest.approx(0.00798, rel=0.3)
    assert metrics["max_abs_cos"] < 0.06
    assert 88 < metrics["mean_angle"] < 90
    assert measured("direction_cosine", seed, n=10)["mean_abs_cos"] > 0.15
    assert measured("direction_cosine", seed, n=2)["plane_share"] == pytest.approx(1, abs=1e-6)
