"""Tests the experiment saddle_escape against linearised growth, the curvature by hand, and a run in exact powers."""

import math

import pytest
from oracles import measure, measured


@pytest.mark.parametrize(
    ("x", "curve", "lr"), [(1e-6, 0.2, 0.5), (1e-9, 0.2, 0.5), (1e-6, 0.05, 1.0), (1e-3, 1.0, 0.1)]
)
def test_leaves_when_the_linear_growth_says(x, curve, lr):
    """The factor is 1 + lr·curve; the cubic term delays the last few steps."""
    metrics = measured("saddle_escape", x=x, curve=curve, lr=lr, n=1500)
    assert metrics["theory"] == pytest.approx(math.log(math.sqrt(curve) / 2 / x, 1 + lr * curve) + 1)
    assert metrics["theory"] <= metrics["leave_step"] <= metrics["theory"] + 1 + 0.6 / (lr * curve)
    assert metrics["curvature"] == pytest.approx(-curve, rel=0.06)
    assert metrics["drop"] > 0.9 * curve**2 / 4


def test_a_minimum_has_no_way_down():
    """The norm follows the slowest direction, (1 − lr·0.1) a step."""
    rows, metrics = measure("saddle_escape", case="minimum", n=200)
    assert metrics["leave_step"] is None
    assert metrics["curvature"] > 0
    assert rows[-1]["norm"] == pytest.approx(0.1 * 0.95**199, rel=0.05)


def test_noise_shortens_it():
    """The start counts through its logarithm only."""
    calm = measured("saddle_escape", x=1e-12, n=1000)["leave_step"]
    noisy = measured("saddle_escape", x=1e-12, noise=1e-3, n=1000)["leave_step"]
    assert noisy < 0.5 * calm
