"""Tests the experiment matrix_product against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import (
    INF,
    NAN,
    draws,
    measured,
    rms_norm,
)


@pytest.mark.parametrize(("n", "d", "std"), [(100, 4, 1.0), (1, 4, 1.0), (60, 1, 1.0), (50, 3, 0.5), (40, 7, 30.0)])
def test_matrix_product_against_numpy(n, d, std):
    """The product in numpy, with exponents kept separately, has the same norm to 12 digits."""
    product, exponent = np.eye(d), 0
    for matrix in draws(0, *[(d, d)] * n, double=True):
        product = std * matrix @ product
        shift = int(np.frexp(np.abs(product).max())[1])
        product, exponent = np.ldexp(product, -shift), exponent + shift
    exact = mpmath.log(mpmath.mpf(rms_norm(product)) * mpmath.mpf(2) ** exponent)
    metrics = measured("matrix_product", n=n, d=d, std=std)
    assert metrics["log10_norm"] == pytest.approx(float(exact / mpmath.log(10)), rel=1e-11)
    assert metrics["log_growth_per_step"] == pytest.approx(float(exact / n), rel=1e-11)
    assert metrics["norm"] == pytest.approx(float(mpmath.exp(exact)), rel=1e-9)
    assert metrics["growth_error"] == pytest.approx(abs(float(exact / n) - metrics["theory_lyapunov"]))


@pytest.mark.parametrize("d", [1, 2, 3, 4, 10, 128])
@pytest.mark.parametrize("std", [1.0, 0.5, 3.0])
def test_matrix_product_lyapunov_exponent(d, std):
    """Newman 1986 gives λ = ln σ + ½(ln 2 + ψ(d/2)), here by mpmath; at the critical σ it is 0."""
    rate = mpmath.log(std) + (mpmath.log(2) + mpmath.digamma(mpmath.mpf(d) / 2)) / 2
    metrics = measured("matrix_product", n=2, d=d, std=std)
    assert metrics["theory_lyapunov"] == pytest.approx(float(rate), rel=1e-12, abs=1e-14)
    assert metrics["log10_theory"] == pytest.approx(float(2 * rate / mpmath.log(10)), rel=1e-12, abs=1e-13)
    assert metrics["theory_norm"] == pytest.approx(float(mpmath.exp(2 * rate)), rel=1e-12)
    assert metrics["theory_critical_std"] == pytest.approx(float(std / mpmath.exp(rate)), rel=1e-12)
    top = mpmath.log(2) * 1024
    expected = max(1, round(float(top / rate))) if rate > 0 else None
    assert metrics["theory_overflow_step"] == expected


@pytest.mark.parametrize(
    ("params", "within"), [({}, 0.2), ({"n": 10000}, 0.02), ({"n": 2000, "d": 100, "std": 0.1}, 0.02)]
)
def test_matrix_product_grows_at_the_lyapunov_rate(params, within):
    """|measured − λ| < 2/√n, so 10000 matrices give two digits; σ = 1/√d is near the critical value."""
    metrics = measured("matrix_product", **params)
    assert metrics["growth_error"] < within
    assert metrics["growth_error"] < 2 / math.sqrt(params.get("n", 100))


@pytest.mark.parametrize(("dtype", "decades"), [("float64", 308.25), ("float32", 38.53), ("float16", 4.816)])
def test_matrix_product_overflow(dtype, decades):
    """The plain product is finite while its norm is in range, and overflows near ln max / λ."""
    metrics = measured("matrix_product", n=1500, dtype=dtype)
    assert metrics["theory_overflow_step"] == round(decades * math.log(10) / metrics["theory_lyapunov"])
    before = measured("matrix_product", n=metrics["first_nonfinite_step"] - 1)
    at = measured("matrix_product", n=metrics["first_nonfinite_step"])
    assert before["log10_norm"] < decades + math.log10(4)  # 16 entries, none above max: norm ≤ 4·max
    assert at["log10_norm"] > decades - 1.5
    assert metrics["first_zero_step"] is None


@pytest.mark.parametrize("std", [0.0, NAN, INF, -INF])
def test_matrix_product_edges(std):
    """With σ = 0 step 1 is 0; with σ = nan or ±inf it is not finite; in neither case is a rate reported."""
    metrics = measured("matrix_product", std=std, n=5)
    assert metrics["first_zero_step"] == (1 if std == 0 else None)
    assert metrics["first_nonfinite_step"] == (None if std == 0 else 1)
    assert not math.isfinite(metrics["log_growth_per_step"])
    assert metrics["norm"] == 0 if std == 0 else not math.isfinite(metrics["norm"])
