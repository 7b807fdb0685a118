"""Tests the experiment product_of_factors against all outcomes of a coin, closed forms, and numpy's own draws."""

import math
from itertools import product

import numpy as np
import pytest
from oracles import measured


def test_every_outcome_of_four_coins():
    """Mean, variance and root of the sixteen products of 0.5 and 1.5."""
    outcomes = np.array([math.prod(factors) for factors in product((0.5, 1.5), repeat=4)])
    metrics = measured("product_of_factors", law="two_point", n=4, std=0.5, trials=10000)
    assert metrics["theory_average"] == pytest.approx(outcomes.mean())
    assert metrics["theory_variance"] == pytest.approx(outcomes.var())
    assert metrics["theory_middle"] == pytest.approx(np.exp(np.log(outcomes).mean()))
    assert metrics["average"] == pytest.approx(outcomes.mean(), rel=0.05)
    assert metrics["variance"] == pytest.approx(outcomes.var(), rel=0.15)
    assert metrics["mean_of_root"] == pytest.approx((outcomes**0.25).mean(), rel=0.01)
    assert metrics["below"] == pytest.approx((outcomes < 1).mean(), abs=0.02)
    assert metrics["samples_needed"] == pytest.approx(outcomes.var())


@pytest.mark.parametrize(("mean", "std"), [(1.0, 0.5), (0.0, 0.5), (2.0, 1.0)])
def test_the_variance_of_a_product_of_two(mean, std):
    """Var[XY] = σ²τ² + σ²ν² + μ²τ²; with means of 0 the product of the variances."""
    metrics = measured("product_of_factors", n=2, mean=mean, std=std, trials=10000)
    assert metrics["theory_variance"] == pytest.approx(std**4 + 2 * mean**2 * std**2)
    assert metrics["variance"] == pytest.approx(metrics["theory_variance"], rel=0.15)
    assert metrics["product_of_variances"] == pytest.approx(std**4)


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_the_typical_product(law):
    rng = np.random.default_rng(3)
    x = rng.normal(size=400000) if law == "normal" else rng.uniform(-(3**0.5), 3**0.5, size=400000)
    growth = np.log(np.abs(1 + 0.3 * x)).mean()
    metrics = measured("product_of_factors", law=law, n=100)
    assert math.log(metrics["theory_middle"]) / 100 == pytest.approx(growth, abs=0.003)
    assert math.log(metrics["middle"]) == pytest.approx(100 * growth, abs=0.5)
    assert metrics["middle"] < 0.05 < metrics["theory_average"] == metrics["root_of_mean"] == 1


def test_ends_of_the_ranges():
    still = measured("product_of_factors", std=0.0)
    assert still["average"] == still["middle"] == still["mean_of_root"] == 1 and still["theory_variance"] == 0
    empty = measured("product_of_factors", mean=0.0, std=0.0)
    assert empty["top_hundredth"] is None and empty["samples_needed"] is None
    assert measured("product_of_factors", mean=10.0, std=10.0, n=500)["theory_variance"] == math.inf
