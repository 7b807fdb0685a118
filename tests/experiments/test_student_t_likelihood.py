"""Tests the experiment student_t_likelihood against mpmath with 40 digits."""

import mpmath
import pytest
from oracles import measured, same


def exact(nu: float, r: float) -> tuple[float, float]:
    """The negative log-likelihood and its derivative with respect to ν."""
    with mpmath.workdps(40):

        def loss(v):
            normaliser = mpmath.loggamma(v / 2) - mpmath.loggamma((v + 1) / 2) + mpmath.log(v * mpmath.pi) / 2
            return normaliser + (v + 1) / 2 * mpmath.log1p(mpmath.mpf(r) ** 2 / v)

        return float(loss(mpmath.mpf(nu))), float(mpmath.diff(loss, mpmath.mpf(nu)))


@pytest.mark.parametrize("nu", [0.01, 1.0, 5.0, 999.0, 1001.0, 1e6])
@pytest.mark.parametrize("r", [0.0, 1.0, 30.0])
def test_reference_and_float64(nu, r):
    metrics = measured("student_t_likelihood", nu=nu, r=r)
    loss, slope = exact(nu, r)
    assert metrics["exact"] == pytest.approx(loss, rel=1e-12, abs=1e-12)
    assert metrics["wide"] == pytest.approx(loss, rel=2e-7, abs=1e-8)
    assert metrics["slope_wide"] == pytest.approx(slope, rel=1e-3, abs=1e-15)


@pytest.mark.parametrize("nu", [100.0, 1e4, 1e6])
def test_error_grows_with_nu(nu):
    """In float32 it stays within twice what theory says, and is visible from ν = 1e4 on."""
    metrics = measured("student_t_likelihood", nu=nu)
    assert metrics["log1p_error"] < 2 * metrics["theory_error"] + 1e-6
    assert (metrics["log1p_error"] > 1e-3) == (nu >= 1e4)


def test_edges():
    """With ν = 0 every way gives nan; with a large ν the likelihood is a Gaussian's."""
    assert all(
        same(measured("student_t_likelihood", nu=0.0)[name], float("nan")) for name in ("naive", "log1p", "wide")
    )
    metrics = measured("student_t_likelihood", nu=1e8, r=2.0)
    assert metrics["exact"] == pytest.approx(metrics["gaussian"], abs=1e-6)
