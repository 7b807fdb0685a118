"""Tests the experiment log_product against reference values computed by independent code."""

from fractions import Fraction

import mpmath
import pytest
from oracles import FORMATS, INF, NAN, Format, add_exactly, measured, same


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("x", "n"), [(1.5, 1000), (0.01, 300), (-3.0, 50), (0.99, 100)])
def test_log_product_by_exact_rounding(dtype, x, n):
    """Sum of logarithms and mantissa equal rational arithmetic with each step rounded as IEEE 754 says."""
    form = FORMATS[dtype]
    stored = form.rounded(Fraction(x))
    mpmath.mp.dps = 60
    log = mpmath.log(mpmath.mpf(abs(stored.numerator)) / stored.denominator)
    rounded = form.rounded(Fraction(int(log * mpmath.mpf(2) ** 150), 2**150))
    total = Fraction(0)
    for _ in range(n):
        total = form.rounded(total + rounded)
    metrics = measured("log_product", n=n, x=x, dtype=dtype)
    assert metrics["log10_sum"] == pytest.approx(float(total / Fraction(float(mpmath.log(10)))), rel=1e-12)
    unlimited, product = Format(form.p, 10**6), Fraction(1)
    for _ in range(n):
        product = unlimited.rounded(product * stored)
    kept = Fraction(metrics["scaled_mantissa"]) * Fraction(2) ** metrics["scaled_exponent"]
    assert kept == product
    true = Fraction(x) ** n
    assert metrics["scaled_rel_err"] == pytest.approx(float(abs(product / true - 1)), rel=1e-6, abs=1e-18)
    exact = n * mpmath.log(mpmath.mpf(abs(x)))
    assert metrics["true_log10"] == pytest.approx(float(exact / mpmath.log(10)), rel=1e-15)
    error = mpmath.mpf(total.numerator) / total.denominator - exact
    assert metrics["log_abs_err"] == pytest.approx(float(abs(error)), rel=1e-2, abs=1e-12)
    if abs(error) < 600:
        assert metrics["log_rel_err"] == pytest.approx(float(abs(mpmath.expm1(error))), rel=1e-6)


def test_log_product_of_a_thousand():
    """1.5^1000 overflows float32 but its log10, 176.09, does not; the logarithm costs about three digits."""
    metrics = measured("log_product")
    assert metrics["product"] == metrics["naive_log"] == INF
    assert metrics["product_bad_step"] == 219
    assert metrics["true_log10"] == pytest.approx(176.0912590556812)
    assert abs(metrics["log10_sum"] - metrics["true_log10"]) < 1e-2
    assert metrics["scaled_rel_err"] < 1e-5 < metrics["log_rel_err"] < 1e-2


def test_log_product_sum_stalls_in_bfloat16():
    """The sum of logarithms is a running sum: it stops where any running sum stops."""
    term = FORMATS["bfloat16"].rounded(Fraction(float(mpmath.log(mpmath.mpf(1.5)))))
    stalled, _ = add_exactly("bfloat16", float(term), 1000)
    metrics = measured("log_product", dtype="bfloat16")
    assert metrics["log10_sum"] == pytest.approx(float(stalled) / 2.302585092994046)
    assert stalled == 128


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, {"product": 0.0, "log10_sum": -INF, "true_log10": -INF, "log_rel_err": NAN, "product_bad_step": 1}),
        (1.0, {"product": 1.0, "log10_sum": 0.0, "log_rel_err": 0.0, "product_bad_step": None}),
        (INF, {"product": INF, "log10_sum": INF, "product_bad_step": 1}),
        (NAN, {"product": NAN, "log10_sum": NAN, "product_bad_step": None}),
        (1e308, {"product": INF, "product_bad_step": 1}),
    ],
)
def test_log_product_edges(x, expected):
    metrics = measured("log_product", x=x, n=10)
    for name, value in expected.items():
        assert same(metrics[name], value), name
