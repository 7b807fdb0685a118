"""Tests the experiment log_variance_head against the same descent in Python's float64 with the gradients written by
hand.
"""

import math

import pytest
from oracles import INF, measure, measured


def descend(quiet: int, outlier: float, floor: float, lr: float, n: int) -> list[float]:
    """The losses of the descent, with dL/dm = −r·e^(−s) and dL/ds = ½(1 − r²·e^(−s)); s is limited to ±floor."""
    m, s, losses = 0.0, 0.0, []
    for step in range(1, n + 1):
        r = (0.0 if step <= quiet else outlier) - m
        losses.append(0.5 * (s + r * r * math.exp(-s)))
        m, s = m + lr * r * math.exp(-s), s - lr * 0.5 * (1 - r * r * math.exp(-s))
        s = min(max(s, -floor), floor)
    return losses


@pytest.mark.parametrize(("quiet", "outlier", "floor"), [(200, 1.0, 4.0), (50, 0.5, 2.0), (0, 2.0, 6.0)])
def test_the_limited_head(quiet, outlier, floor):
    rows, metrics = measure("log_variance_head", quiet=quiet, outlier=outlier, floor=floor, lr=0.02)
    expected = descend(quiet, outlier, floor, 0.02, 300)
    for row in rows:
        assert row["floored"] == pytest.approx(expected[int(row["step"]) - 1], rel=1e-2, abs=1e-2)
    assert metrics["largest_gradient_floored"] <= math.hypot(outlier, outlier**2) * math.exp(floor) + 1


def test_s_falls_by_half_the_rate():
    """It does so while residuals are 0; the gradient of the first other residual is multiplied by e^(−s)."""
    metrics = measured("log_variance_head")
    assert metrics["lowest_s"] == pytest.approx(metrics["theory_s"], rel=1e-3)
    assert metrics["largest_gradient"] == pytest.approx(math.hypot(math.exp(10), 0.5 * math.exp(10)), rel=0.01)
    assert metrics["first_bad_step"] == 201
    assert metrics["first_bad_step_floored"] is None


def test_the_kl_term_overflows():
    """After the outlier s exceeds 88.7, so that exp overflows; without an outlier it never does."""
    metrics = measured("log_variance_head")
    assert metrics["largest_s"] > 88.8
    assert metrics["kl"] == INF
    assert measured("log_variance_head", outlier=0.0)["kl"] == 0
