"""Tests the experiment softplus_inverse against high-precision arithmetic."""

import pytest
from mpmath import mp, mpf
from oracles import INF, NAN, measured, same


@pytest.mark.parametrize("y", [1e-30, 1e-8, 0.01, 0.6931, 3.0, 80.0, 1000.0])
def test_the_stable_form(y):
    with mp.workdps(60):
        exact = float(mp.log(mp.expm1(mpf(y))))
    metrics = measured("softplus_inverse", y=y)
    assert metrics["stable"] == pytest.approx(exact, rel=1e-5, abs=1e-6)
    assert metrics["exact"] == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert metrics["stable_gradient"] == pytest.approx(float(1 / (-mp.expm1(-mpf(y)))), rel=1e-5)
    assert metrics["stable_back"] < 1e-4


def test_both_ends_of_the_naive_form():
    """The naive form fails for small and for large arguments."""
    large, small = measured("softplus_inverse"), measured("softplus_inverse", y=1e-8)
    assert (large["naive"], large["expm1"], small["naive"]) == (INF, INF, -INF)
    assert small["expm1"] == pytest.approx(-18.42, abs=0.01)
    assert same(large["gradient"], NAN)


@pytest.mark.parametrize("y", [0.5, 20.0])
def test_the_forms_of_softplus(y):
    metrics = measured("softplus_inverse", y=y)
    exact = float(mp.log1p(mp.exp(-mpf(y))))
    assert metrics["softplus_form"] == pytest.approx(exact, rel=1e-6)
    assert metrics["true_form"] == pytest.approx(exact, rel=1e-12)
    assert (metrics["log_form"] == 0) is (y == 20.0)
