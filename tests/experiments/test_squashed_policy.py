"""Tests the experiment squashed_policy against high-precision arithmetic."""

import pytest
from mpmath import mp, mpf
from oracles import INF, NAN, measured, same


def exact(u: float) -> mpf:
    with mp.workdps(120):
        return mp.log(1 - mp.tanh(mpf(u)) ** 2)


@pytest.mark.parametrize("u", [-50.0, -3.0, 0.0, 0.5, 8.0, 10.0, 88.0])
def test_the_stable_form(u):
    metrics = measured("squashed_policy", u=u)
    assert metrics["stable"] == pytest.approx(float(exact(u)), rel=1e-6, abs=1e-6)
    assert metrics["exact"] == pytest.approx(float(exact(u)), rel=1e-14, abs=1e-14)
    assert metrics["stable_gradient"] == pytest.approx(float(-2 * mp.tanh(u)), rel=1e-6, abs=1e-6)


def test_beyond_nine():
    """There tanh is 1 in float32: the naive form is −inf, with eps it is the eps, and atanh does not come back."""
    metrics = measured("squashed_policy", u=10.0, eps=1e-4)
    assert metrics["naive"] == -INF
    assert same(metrics["naive_gradient"], NAN)
    assert metrics["eps"] == pytest.approx(float(mp.log(1e-4)), rel=1e-5)
    assert metrics["eps_gradient"] == 0
    assert metrics["back"] == INF


def test_at_five_all_agree():
    metrics = measured("squashed_policy", u=5.0)
    assert metrics["naive"] == pytest.approx(float(exact(5.0)), rel=1e-3)
    assert metrics["back"] == pytest.approx(5, rel=1e-2)
