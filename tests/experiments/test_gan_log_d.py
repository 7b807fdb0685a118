"""Tests the experiment gan_log_d against the closed forms of the losses and their slopes, in float64."""

import math

import pytest
from oracles import INF, NAN, measure, measured, same


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


@pytest.mark.parametrize("x", [-60.0, -20.0, -3.0, 0.5, 10.0])
def test_closed_forms(x):
    """Saturating D, naive and fused 1 − D, with eps D·(1 − D)/(D + eps)."""
    d = sigmoid(x)
    metrics = measured("gan_log_d", x=x, eps=1e-6)
    assert metrics["gradient_saturating"] == pytest.approx(d, rel=1e-2)
    assert metrics["gradient_fused"] == pytest.approx(1 - d, rel=1e-2)
    assert metrics["gradient_naive"] == pytest.approx(1 - d, rel=1e-2)
    assert metrics["gradient_eps"] == pytest.approx(d * (1 - d) / (d + 1e-6), rel=1e-2)
    assert metrics["fused_loss"] == pytest.approx(max(-x, 0) + math.log1p(math.exp(-abs(x))), rel=1e-4)
    assert metrics["eps_loss"] == pytest.approx(-math.log(d + 1e-6), rel=1e-2, abs=1e-5)


def test_a_sure_discriminator():
    """For a logit of −120 D underflows: the naive loss is inf and its gradient nan; eps or the limit of −100 leave no
    gradient.
    """
    metrics = measured("gan_log_d", x=-120.0)
    assert metrics["naive_loss"] == INF
    assert same(metrics["gradient_naive"], NAN)
    assert metrics["bce_loss"] == pytest.approx(100)
    assert (metrics["gradient_eps"], metrics["gradient_bce"], metrics["gradient_fused"]) == (0, 0, 1)


def test_the_discriminator_overflows_at_17():
    assert measured("gan_log_d", x=18.0)["discriminator"] == INF
    assert measured("gan_log_d", x=16.0)["discriminator"] == pytest.approx(16, rel=0.05)
    rows, _ = measure("gan_log_d", x=-20.0)
    assert len(rows) == 61
