"""Tests the experiment product_spectrum against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import INF, draws, measured


@pytest.mark.parametrize(("n", "d", "gain"), [(1, 4, 1.0), (12, 4, 1.0), (40, 3, 0.7)])
def test_product_spectrum_against_singular_values(n, d, gain):
    """The same Gaussian factors multiplied with 200 digits: the determinant is exact, the top direction within d."""
    with mpmath.workdps(200):
        product = mpmath.eye(d)
        for entries in draws(0, *[(d, d)] * n, double=True):
            product = mpmath.matrix((gain * entries / math.sqrt(d)).tolist()) * product
        values = sorted((float(mpmath.log10(s)) for s in mpmath.svd_r(product, compute_uv=False)), reverse=True)
    metrics = measured("product_spectrum", n=n, d=d, gain=gain)
    assert metrics["log10_determinant"] == pytest.approx(sum(values), rel=1e-9, abs=1e-9)
    assert math.log10(metrics["gauss_top"]) <= values[0] + 1e-9
    assert math.log10(metrics["gauss_top"]) == pytest.approx(values[0], abs=1.5)
    assert math.log10(metrics["gauss_bottom"]) >= values[-1] - 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_product_spectrum_claims(seed):
    """Orthogonal factors keep every direction; Gaussian ones crush the median one at the rate of theory."""
    metrics = measured("product_spectrum", seed)
    assert metrics["orthogonal_top"] == pytest.approx(1, abs=1e-12)
    assert metrics["orthogonal_bottom"] == pytest.approx(1, abs=1e-12)
    assert metrics["orthogonal_spread"] < 1e-12
    assert metrics["gauss_median"] < 1e-10
    assert metrics["gauss_spread"] == pytest.approx(metrics["theory_gauss_spread"], abs=4)
    assert measured("product_spectrum", seed, n=1)["gauss_median"] > 0.3


def test_product_spectrum_theory_and_edges():
    """Newman's exponents by mpmath; a gain of 1.1 is 1.1¹⁰⁰; 10²⁰⁰⁰ is inf and no error."""
    metrics = measured("product_spectrum", n=10, d=6)
    top, median = (mpmath.digamma(mpmath.mpf(7 - i) / 2) / 2 for i in (1, 4))
    assert metrics["theory_gauss_spread"] == pytest.approx(float(10 * (top - median) / mpmath.log(10)))
    assert measured("product_spectrum", gain=1.1)["orthogonal_top"] == pytest.approx(1.1**100, rel=1e-9)
    assert measured("product_spectrum", n=2000, d=2, gain=10.0)["orthogonal_top"] == INF
    assert np.isclose(measured("product_spectrum", d=128, n=20)["orthogonal_spread"], 0, atol=1e-12)
