"""Tests the experiment dot_product_scores against numpy, the standard deviation of a dot product, and the bounds of
cosine and tanh.
"""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("x", [0.5, 1.0, 6.0])
def test_scores_as_drawn(seed, x):
    """The largest scores, top weights and slopes of raw and scaled products are those of numpy for the same draws."""
    a, b = draws(seed, (64, 256), (64, 256))
    metrics = measured("dot_product_scores", seed, x=x)
    for way, score in (("raw", x * x * a @ b.T), ("scaled", x * x * a @ b.T / 16)):
        assert metrics[f"largest_{way}"] == pytest.approx(abs(score).max())
        weights = np.exp(score - score.max(1, keepdims=True))
        top = 1 / weights.sum(1)
        assert metrics[f"top_{way}"] == pytest.approx(top.mean())
        assert metrics[f"slope_{way}"] == pytest.approx((top * (1 - top)).mean())


@pytest.mark.parametrize("d", [4, 64, 1024])
def test_std_grows_with_the_root_of_d(d):
    """The standard deviation of raw scores is x²·√d, that of scaled ones x²."""
    metrics = measured("dot_product_scores", d=d, x=2.0)
    assert metrics["std_raw"] == pytest.approx(metrics["theory_raw"], rel=0.15)
    assert metrics["theory_raw"] == pytest.approx(4 * math.sqrt(d))
    assert metrics["std_scaled"] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("x", [0.1, 1.0, 30.0])
def test_bounds(x):
    """Cosine scores do not depend on x; tanh never exceeds the cap; with random keys the scaled loss starts near ln n +
    x⁴/2.
    """
    rows, metrics = measure("dot_product_scores", x=x, gain=7.0, cap=20.0)
    assert metrics["largest_normed"] == pytest.approx(measured("dot_product_scores", gain=7.0)["largest_normed"])
    assert all(row["capped"] <= 20 and row["normed"] <= 7 for row in rows)
    if x <= 1:
        assert metrics["loss_scaled"] == pytest.approx(math.log(64) + x**4 / 2, abs=0.35)
