"""Tests the experiment bn_kept against scipy: Kendall's tau, skewness and correlations of the rows, and invariance of
least squares.
"""

import math

import numpy as np
import pytest
from oracles import measure, measured
from scipy import stats


@pytest.mark.parametrize("seed", [0, 1])
def test_order_by_kendall(seed):
    """For a batch of up to 64 samples the rows contain every sample."""
    rows, metrics = measure("bn_kept", seed, batch=64)
    for way, name in (("batch norm", "order"), ("layer norm", "order_ln")):
        pairs = np.array([[row["raw"], row["value"]] for row in rows if row["way"] == way])
        tau = stats.kendalltau(pairs[:, 0], pairs[:, 1]).statistic
        assert metrics[name] == pytest.approx((1 + tau) / 2, abs=1e-12)


def test_a_positive_linear_map_keeps_shape_and_fit():
    rows, metrics = measure("bn_kept", batch=64, gamma=2.5)
    raw, after = (np.array([row[name] for row in rows if row["way"] == "batch norm"]) for name in ("raw", "value"))
    assert stats.skew(raw) == pytest.approx(stats.skew(after), abs=1e-9)
    assert (after.mean(), after.std()) == pytest.approx((0, 2.5), abs=1e-3)
    assert metrics["r2"] == pytest.approx(metrics["r2_raw"], abs=1e-12)
    assert max(metrics["correlation"], metrics["skewness"]) < 1e-12


@pytest.mark.parametrize(("gamma", "order"), [(1.0, 1), (-1.0, 0), (0.0, 0)])
def test_the_sign_of_gamma(gamma, order):
    assert measured("bn_kept", gamma=gamma)["order"] == order


def test_the_gap_between_batches():
    """The gap vanishes if each batch is normalised by itself; in a joint batch with a large shift it is two standard
    deviations.
    """
    assert measured("bn_kept", shift=50.0)["gap"] < 1e-12
    assert measured("bn_kept", shift=100.0, together=True)["gap"] == pytest.approx(2, rel=1e-2)
    metrics = measured("bn_kept", shift=5.0)
    assert metrics["gap_eval"] == pytest.approx(metrics["gap_raw"], rel=1e-3)
    assert math.isclose(metrics["gap_raw"], 5, abs_tol=1)
