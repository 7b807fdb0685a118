"""Tests the experiment iid_variance against reference values computed by independent code."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from oracles import (
    draws,
    measured,
)

from qa_service.errors import BadParameter


@pytest.mark.parametrize("n", [1, 10, 256])
@pytest.mark.parametrize("rho", [0.0, 0.1, 0.5, 1.0])
def test_iid_variance_exact_formulas(n, rho):
    """The variances are σ²[(1−ρ)Σx² + ρ(Σx)²] and σ²[Σx² + ¼(Σx)²] for the same x; moments of relu(z) are numerical
    integrals.
    """
    (x,) = draws(0, (n,))
    x = np.maximum(x, 0)
    metrics = measured("iid_variance", n=n, rho=rho, trials=200)
    squares, square = (x**2).sum(), x.sum() ** 2
    assert metrics["theory_correlated_ratio"] == pytest.approx((1 - rho) + rho * square / squares, rel=1e-12)
    assert metrics["theory_shifted_ratio"] == pytest.approx(1 + square / squares / 4, rel=1e-12)

    def moment(f: Any) -> Any:
        return mpmath.quad(lambda z: f(z) * mpmath.npdf(z), [0, 4, 14]) + f(mpmath.mpf(0)) / 2

    mean = moment(lambda v: v)
    same, cross = moment(lambda v: v**2 * (1 + (v - mean) ** 2 / 4)), moment(lambda v: v * (v - mean) / 2)
    exact = (n * same + n * (n - 1) * cross**2) / (n * moment(lambda v: v**2))
    assert metrics["theory_depends_on_x_ratio"] == pytest.approx(float(exact), rel=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_iid_variance_measurements(seed):
    """For each law the mean of 4000 squares agrees with its exact value within five standard errors."""
    metrics = measured("iid_variance", seed)
    normal_error = 5 * math.sqrt(2 / 4000)
    assert metrics["iid_error"] == pytest.approx(abs(metrics["iid_ratio"] - 1))
    assert metrics["iid_error"] < normal_error
    assert abs(metrics["uniform_ratio"] - 1) < normal_error
    assert metrics["not_identical_exact_error"] < normal_error
    assert metrics["uncorrelated_error"] < 5 * math.sqrt(8 / 4000)  # the fourth moment of a product of two normals is 9
    assert metrics["correlated_exact_error"] < normal_error
    assert metrics["correlated_ratio"] == pytest.approx(metrics["theory_correlated_ratio"], rel=normal_error)
    assert metrics["correlated_error"] == pytest.approx(abs(metrics["correlated_ratio"] - 1))
    assert metrics["shifted_ratio"] == pytest.approx(metrics["theory_shifted_ratio"], rel=normal_error)
    assert metrics["depends_on_x_ratio"] == pytest.approx(metrics["theory_depends_on_x_ratio"], rel=0.15)
    assert metrics["correlated_ratio"] > 2 < metrics["depends_on_x_ratio"]


def test_iid_variance_controls_and_edges():
    """ρ = 0 is the i.i.d. case; σ = 0 has no ratio; with 10000 inputs fewer draws are made; 10 inputs are hardly
    affected by ρ = 0.1.
    """
    assert measured("iid_variance", rho=0.0)["correlated_ratio"] == pytest.approx(1, abs=0.12)
    nothing = measured("iid_variance", std=0.0, trials=200)
    ratios = [value for name, value in nothing.items() if name.endswith(("ratio", "error")) and "theory" not in name]
    assert ratios.count(None) == len(ratios)
    assert measured("iid_variance", n=10000, trials=500)["correlated_ratio"] > 250
    assert measured("iid_variance", n=10, trials=4000)["correlated_ratio"] < 2
    with pytest.raises(BadParameter):
        measured("iid_variance", n=10000)
