"""Tests the experiment log_space_product against reference values computed by independent code."""

import math
from fractions import Fraction

import numpy as np
import pytest
from oracles import FORMATS, INF, NAN, measured, same


@pytest.mark.parametrize(("x", "n"), [(1.5, 300), (1.5, 100), (0.9, 1000), (1.5, 1), (-1.5, 20)])
def test_log_space_product_by_exact_rounding(x, n):
    """The product equals rational arithmetic rounded after every step; the sum of logs equals numpy's float32."""
    form = FORMATS["float32"]
    factor = form.rounded(Fraction(x))
    product = Fraction(1)
    for _ in range(n):
        product = form.rounded(product * factor)
        if product is None:
            break
    metrics = measured("log_space_product", x=x, n=n)
    assert metrics["product"] == (INF if product is None else float(product))
    if x > 0:
        total = np.float32(0)
        for _ in range(n):
            total = np.float32(total + np.log(np.float32(x)))
        assert metrics["sum_of_logs"] == pytest.approx(float(total), rel=1e-6)
        assert metrics["sum_of_logs"] == pytest.approx(n * math.log(x), rel=1e-4)
        assert metrics["grad_log_product"] == pytest.approx(n / x, rel=1e-6)
    assert metrics["theory_log10"] == pytest.approx(n * math.log10(abs(x)))


def test_log_space_product_gradients():
    """The gradient of the product is n·xⁿ⁻¹, which is also that of exp(Σ ln x)."""
    metrics = measured("log_space_product", n=100)
    assert metrics["grad_product"] == pytest.approx(100 * 1.5**99, rel=1e-5)
    assert metrics["grad_exp_sum"] == pytest.approx(100 * 1.5**99, rel=1e-3)
    assert metrics["difference"] == pytest.approx(abs(metrics["exp_of_sum"] / metrics["product"] - 1))
    assert metrics["difference"] < 0.01


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"product": INF, "exp_of_sum": INF, "grad_product": INF, "grad_exp_sum": INF, "grad_log_product": 200.0}),
        ({"x": 0.9, "n": 1000}, {"product": 4 * 2.0**-149, "exp_of_sum": 0.0, "difference": 0.0}),
        ({"x": 0.0}, {"product": 0.0, "sum_of_logs": -INF, "exp_of_sum": 0.0, "grad_product": 0.0,
                      "grad_exp_sum": NAN, "grad_log_product": INF, "theory_log10": None}),
        ({"x": -1.5}, {"product": INF, "sum_of_logs": NAN, "exp_of_sum": NAN, "grad_product": -INF,
                       "grad_exp_sum": NAN, "grad_log_product": -200.0}),
        ({"x": NAN}, {"product": NAN, "sum_of_logs": NAN, "exp_of_sum": NAN, "theory_log10": None}),
        ({"x": 1e308}, {"product": INF, "sum_of_logs": INF, "exp_of_sum": INF, "grad_product": INF,
                        "grad_exp_sum": NAN, "grad_log_product": 0.0, "theory_log10": 92400.0}),
        ({"x": INF, "n": 2}, {"product": INF, "sum_of_logs": INF, "theory_log10": INF}),
    ],
)  # fmt: skip
def test_log_space_product_edges(params, expected):
    """The sum stays finite where the product does not; it is not defined for 0 and negative factors."""
    metrics = measured("log_space_product", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name


def test_log_space_product_long():
    """For 10000 factors the sum is 4055, without any loss compared with three factors."""
    metrics = measured("log_space_product", n=10000)
    assert metrics["sum_of_logs"] == pytest.approx(4055.0288, rel=1e-5)
    assert metrics["grad_log_product"] == pytest.approx(10000 / 1.5, rel=1e-6)
