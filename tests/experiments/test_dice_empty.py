"""Tests the experiment dice_empty against the closed form for predictions that are all equal."""

import math

import pytest
from oracles import NAN, measured, same


@pytest.mark.parametrize(("score", "positive"), [(-3.0, 0), (0.0, 10), (4.0, 100)])
@pytest.mark.parametrize("smooth", [1e-3, 1.0, 50.0])
def test_dice_and_gradients(score, positive, smooth):
    n, p = 1000, 1 / (1 + math.exp(-score))
    metrics = measured("dice_empty", score=score, positive=positive, smooth=smooth)
    slope, total = p * (1 - p), n * p + positive
    for name, above, below in (("plain", 0.0, 0.0), ("below", 0.0, smooth), ("both", smooth, smooth)):
        top, bottom = 2 * p * positive + above, total + below
        assert metrics[name] == pytest.approx(top / bottom, rel=1e-4, abs=1e-9)
        inside, outside = (abs((2 * y * bottom - top) / bottom**2) * slope for y in (1, 0))
        expected = (positive * inside + (n - positive) * outside) / n
        assert metrics[f"{name}_gradient"] == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_empty_and_predicted_empty():
    metrics = measured("dice_empty")
    assert same(metrics["plain"], NAN)
    assert same(metrics["plain_gradient"], NAN)
    assert (metrics["below"], metrics["both"]) == (0, 1)
    assert metrics["pooled"] > 0.99


def test_smooth_below_teaches_nothing_about_empty_masks():
    metrics = measured("dice_empty", score=1.0)
    assert (metrics["below"], metrics["below_gradient"]) == (0, 0)
    assert metrics["both_gradient"] > 0
