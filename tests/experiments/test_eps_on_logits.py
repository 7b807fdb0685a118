"""Tests the experiment eps_on_logits against the closed forms of the limited losses."""

import math

import pytest
from oracles import INF, NAN, measure, measured, same


@pytest.mark.parametrize("x", [0.0, 5.0, 20.0, 60.0])
@pytest.mark.parametrize("eps", [1e-3, 1e-7])
def test_closed_forms(x, eps):
    p = 1 / (1 + math.exp(x))
    metrics = measured("eps_on_logits", x=x, eps=eps)
    assert metrics["exact"] == pytest.approx(-math.log(p))
    assert metrics["on_logits"] == pytest.approx(-math.log(p), rel=1e-4)
    assert metrics["fused"] == pytest.approx(-math.log(p), rel=1e-4)
    assert metrics["in_log"] == pytest.approx(-math.log(p + eps), rel=1e-4)
    assert metrics["clamped"] == pytest.approx(-math.log(max(p, eps)), rel=1e-4)
    assert metrics["gradient_fused"] == pytest.approx(p - 1, rel=1e-4)
    assert metrics["gradient_in_log"] == pytest.approx((p - 1) * p / (p + eps), rel=1e-3, abs=1e-12)
    assert metrics["gradient_clamped"] == pytest.approx(p - 1 if p >= eps else 0, rel=1e-4)


@pytest.mark.parametrize("eps", [0.0, 1e-7, 1.0])
def test_no_eps_on_the_logits_prevents_inf(eps):
    """For logits beyond 104 the probability is 0 in float32, whatever eps is added to the logits."""
    metrics = measured("eps_on_logits", eps=eps)
    assert metrics["probability"] == 0
    assert metrics["on_logits"] == INF
    assert same(metrics["gradient_on_logits"], NAN)
    assert metrics["fused"] == 120


def test_the_scan_ends_at_x():
    rows, metrics = measure("eps_on_logits", x=30.0)
    assert rows[-1]["x"] == 30
    assert rows[-1]["fused"] == metrics["fused"]
