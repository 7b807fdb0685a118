"""Tests the experiment gradient_clipping against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize(("n", "clip", "outliers", "scale"), [(100, 1.0, 5, 10.0), (7, 0.3, 2, 3.0), (50, 2.5, 0, 1.0)])
def test_clipping_against_numpy(n, clip, outliers, scale):
    """Clipping by norm and by value gives the same as numpy."""
    (g,) = draws(0, (n,))
    g[:outliers] *= scale
    by_norm, by_value = g * min(1, clip / np.linalg.norm(g)), g.clip(-clip, clip)
    metrics = measured("gradient_clipping", n=n, clip=clip, outliers=outliers, scale=scale)
    assert metrics["norm_before"] == pytest.approx(np.linalg.norm(g), rel=1e-5)
    assert metrics["norm_after_norm"] == pytest.approx(np.linalg.norm(by_norm), rel=1e-5)
    assert metrics["norm_after_value"] == pytest.approx(np.linalg.norm(by_value), rel=1e-5)
    assert metrics["cos_value"] == pytest.approx(g @ by_value / np.linalg.norm(g) / np.linalg.norm(by_value), rel=1e-5)
    assert metrics["turn_norm"] < 1e-6
    assert metrics["share_norm"] == pytest.approx((g[:outliers] ** 2).sum() / (g**2).sum(), rel=1e-5)
    assert metrics["share_value"] == pytest.approx((by_value[:outliers] ** 2).sum() / (by_value**2).sum(), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_clipping_claims(seed):
    """Clipping by norm keeps the direction, by value turns it; one inf becomes nan and makes the other components 0."""
    metrics = measured("gradient_clipping", seed)
    assert metrics["turn_norm"] < 1e-6 < 0.1 < metrics["turn_value"]
    assert metrics["nan_after_inf"] == 1
    assert metrics["zero_after_inf"] == 99


def test_clipping_edges():
    """A high threshold changes nothing; a zero gradient has no direction."""
    high = measured("gradient_clipping", clip=1000.0)
    assert high["turn_value"] < 1e-9
    assert high["norm_after_norm"] == high["norm_before"]
    assert math.isnan(measured("gradient_clipping", n=2, outliers=2, scale=0.0)["cos_norm"])


@pytest.mark.parametrize("seed", range(3))
def test_clipping_each_parameter_by_its_own_norm_turns(seed):
    """If two halves are each shortened to the threshold, their proportion changes."""
    metrics = measured("gradient_clipping", seed, together=False)
    assert metrics["turn_norm"] > 0.01
    assert metrics["norm_after_norm"] == pytest.approx(math.sqrt(2), rel=1e-4)
