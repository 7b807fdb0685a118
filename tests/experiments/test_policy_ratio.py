"""Tests the experiment policy_ratio against the clipped objective written with math.exp, and against float32's largest
number.
"""

import math

import pytest
from oracles import INF, NAN, measure, measured, same


def slope(d: float, advantage: float, clip: float) -> float:
    """The gradient's size: |A|·e^d where the clip does not act, otherwise 0."""
    ratio = math.exp(d)
    acts = ratio > 1 + clip if advantage > 0 else ratio < 1 - clip
    return 0.0 if acts else abs(advantage) * ratio


@pytest.mark.parametrize("advantage", [-2.0, -0.5, 1.0, 3.0])
def test_gradients_follow_from_the_clip(advantage):
    """Tested are the plain loss everywhere, d limited, with a gradient between the bounds only, and dual clip up to a
    ratio of 3.
    """
    rows, _ = measure("policy_ratio", x=10.0, advantage=advantage, bound=5.0)
    for row in rows:
        expected = slope(row["d"], advantage, 0.2)
        assert row["plain"] == pytest.approx(expected, rel=1e-5)
        assert row["clamped"] == pytest.approx(expected if abs(row["d"]) <= 5 else 0, rel=1e-5)
        assert row["dual"] == pytest.approx(0 if advantage < 0 and math.exp(row["d"]) > 3 else expected, rel=1e-5)


@pytest.mark.parametrize(("x", "ratio"), [(88.7, math.exp(88.7)), (88.8, INF), (1000.0, INF), (-1000.0, 0.0)])
def test_overflow_at_the_largest_number(x, ratio):
    """The ratio is inf from 88.73 on; with a negative advantage so are loss and gradient, and dual clip makes nan."""
    metrics = measured("policy_ratio", x=x)
    assert metrics["ratio"] == pytest.approx(ratio, rel=1e-4)
    assert metrics["loss"] == pytest.approx(max(ratio, 0.8), rel=1e-4)
    if ratio == INF:
        assert metrics["gradient"] == INF
        assert same(metrics["gradient_dual"], NAN)
    assert metrics["loss_clamped"] <= math.exp(5) * 1.00001


def test_positive_advantages_are_bounded():
    """The loss is −(1 + clip) and the gradient 0."""
    metrics = measured("policy_ratio", advantage=1.0, x=50.0)
    assert (metrics["loss"], metrics["gradient"]) == (pytest.approx(-1.2), 0)


def test_padding_and_kl():
    """At padding 0·nan is nan; the KL estimator overflows for large differences of the other sign."""
    metrics = measured("policy_ratio", x=2.0)
    assert same(metrics["masked_by_zero"], NAN)
    assert metrics["masked_before"] == pytest.approx(math.exp(2) + 0.8 * 0, rel=1e-6)
    assert metrics["kl"] == pytest.approx(math.exp(-2) + 1, rel=1e-6)
    assert measured("policy_ratio", x=-100.0)["kl"] == INF
