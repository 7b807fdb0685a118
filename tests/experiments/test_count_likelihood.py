"""Tests the experiment count_likelihood against formulas in Python's float64."""

import math

import pytest
from oracles import INF, NAN, measured, same


@pytest.mark.parametrize(("score", "count"), [(2.0, 0), (0.5, 3), (10.0, 8), (3.0, 50)])
def test_ordinary_rates(score, count):
    """All ways give the likelihood at their own rate, with the slope (1 − k/λ)·dλ/dscore."""
    metrics = measured("count_likelihood", score=score, count=count)
    rates = {"relu": (score, 1.0), "eps": (score, 1.0), "log_rate": (math.exp(score), math.exp(score))}
    rates["softplus"] = (math.log1p(math.exp(score)), 1 / (1 + math.exp(-score)))
    for name, (rate, slope) in rates.items():
        assert metrics[name] == pytest.approx(rate - count * math.log(rate), rel=1e-5, abs=1e-5)
        assert metrics[f"{name}_gradient"] == pytest.approx((1 - count / rate) * slope, rel=1e-4, abs=1e-5)
    assert metrics["lgamma"] == pytest.approx(math.lgamma(count + 1), rel=1e-6, abs=1e-6)
    exact = math.factorial(count)
    assert metrics["factorial"] == (INF if exact > 3.4e38 else pytest.approx(exact, rel=1e-5))


def test_a_rate_of_zero():
    """0·log 0 is nan, a positive count gives inf, and ReLU passes no gradient back."""
    metrics = measured("count_likelihood")
    assert same(metrics["relu"], NAN)
    assert metrics["relu_gradient"] == 0
    assert measured("count_likelihood", count=2)["relu"] == INF
    assert metrics["log_rate"] == pytest.approx(math.exp(-1))


def test_the_cap():
    metrics = measured("count_likelihood", score=100.0, count=1, cap=10.0)
    assert metrics["log_rate"] == INF
    assert metrics["capped"] == pytest.approx(math.exp(10) - 10, rel=1e-5)
