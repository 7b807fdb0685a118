"""Tests the experiment effective_samples against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import measured


def covariance(n, kind, rho, group):
    """The whole n × n covariance matrix of the samples."""
    at = np.arange(n)
    if kind == "series":
        return rho ** np.abs(at[:, None] - at[None, :]).astype(float)
    if kind == "groups":
        same = at[:, None] // group == at[None, :] // group
    else:
        same = np.abs(at[:, None] - at[None, :]) == n // 2
        same &= np.minimum(at[:, None], at[None, :]) < n // 2
    return np.where(np.eye(n, dtype=bool), 1.0, np.where(same, rho, 0.0))


@pytest.mark.parametrize("kind", ["copies", "series", "groups"])
@pytest.mark.parametrize(("n", "rho", "group"), [(64, 0.5, 10), (7, 0.9, 3), (2, 1.0, 1), (40, 0.0, 40)])
def test_design_effect_is_the_sum_of_the_covariances(kind, n, rho, group):
    """n·Var(mean) = Σ Cov / n; the measurement agrees within five standard errors."""
    metrics = measured("effective_samples", n=n, kind=kind, rho=rho, group=group)
    assert metrics["theory"] == pytest.approx(covariance(n, kind, rho, group).sum() / n, rel=1e-12)
    assert metrics["error"] < 5 * np.sqrt(2 / 4000)
    assert metrics["effective"] == pytest.approx(n / metrics["n_over_effective"])


@pytest.mark.parametrize("seed", range(3))
def test_effective_samples_claims(seed):
    """Twice as many new samples reduce the noise, copies do not; of an AR(1) series of 0.9 only a nineteenth counts."""
    assert measured("effective_samples", seed, rho=0.0)["doubling_ratio"] < 0.6
    assert measured("effective_samples", seed, rho=1.0)["doubling_ratio"] == pytest.approx(1)
    series = measured("effective_samples", seed, kind="series", rho=0.9, n=1000)
    assert 17 < series["n_over_effective"] < 21
    assert series["theory"] == pytest.approx(19, abs=0.3)
    assert measured("effective_samples", seed, kind="series", rho=1.0)["effective"] == pytest.approx(1, abs=0.15)
