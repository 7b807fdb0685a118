"""Tests the experiment bn_stats against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import INF, NAN, draws, measure, measured


@pytest.mark.parametrize("params", [{}, {"batch": 4}, {"std": 1e-3}, {"mean": -2.0, "width": 3, "eps": 0.5}])
def test_bn_stats_against_numpy(params):
    """The same draws normalised by hand in float64 give the same statistics; inputs are rounded to float32 in both."""
    full = {"batch": 64, "width": 32, "mean": 5.0, "std": 3.0, "eps": 1e-5} | params
    (draw,) = draws(0, (full["batch"], full["width"]))
    x = np.float32(full["mean"]) + np.float32(full["std"]) * draw.astype(np.float32)
    x = x.astype(float)
    z = (x - x.mean(0)) / np.sqrt(x.var(0) + full["eps"])
    behind = np.maximum(z, 0)
    metrics = measured("bn_stats", **params)
    assert metrics["var"] == pytest.approx(z.var(0).mean(), rel=1e-4)
    assert metrics["theory_var"] == pytest.approx((x.var(0) / (x.var(0) + full["eps"])).mean(), rel=1e-6)
    assert metrics["var_error"] == abs(metrics["var"] - 1)
    assert metrics["median_abs"] == pytest.approx(np.median(abs(z)), rel=1e-2)
    assert metrics["after_relu_mean"] == pytest.approx(behind.mean(), rel=1e-2)
    assert metrics["after_relu_var"] == pytest.approx(behind.var(0).mean(), rel=1e-2)
    assert metrics["theory_after_relu_mean"] == pytest.approx(math.sqrt(metrics["theory_var"] / 2 / math.pi))
    assert metrics["refused"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_bn_stats_claims(seed):
    """Before ReLU mean is 0 and variance 1, after it neither; inputs with a deviation near √ε do not reach variance
    1.
    """
    metrics = measured("bn_stats", seed)
    assert metrics["max_abs_mean"] < 1e-3
    assert abs(metrics["var"] - 1) < 0.01
    assert metrics["after_relu_mean"] > 0.3
    assert measured("bn_stats", seed, std=1e-3)["var"] < 0.2


def test_bn_stats_one_sample_is_refused():
    """PyTorch raises an error for a variance of one sample, which is shown; other metrics are missing, the chart has
    points.
    """
    rows, metrics = measure("bn_stats", batch=1)
    assert metrics["refused"] == 1
    assert {value for name, value in metrics.items() if name != "refused"} == {None}
    assert len(rows) == 32


@pytest.mark.parametrize("mean", [5.0, 0.0, 100.0])
def test_bn_stats_two_samples_are_plus_and_minus_one(mean):
    """With two samples each unit is ±1 whatever they were, so after ReLU the mean is ½ and the variance ¼."""
    metrics = measured("bn_stats", batch=2, mean=mean)
    assert metrics["median_abs"] == pytest.approx(1, abs=1e-4)
    assert metrics["after_relu_mean"] == pytest.approx(0.5, abs=1e-3)
    assert metrics["after_relu_var"] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"std": 0.0}, {"var": 0.0, "theory_var": 0.0, "after_relu_var": 0.0}),
        ({"std": 1e20}, {"var": 0.0, "max_abs_mean": 0.0, "after_relu_mean": 0.0}),  # float32: the variance is inf
        ({"mean": NAN}, {"var": NAN, "max_abs_mean": NAN, "after_relu_mean": NAN}),
        ({"mean": INF}, {"var": NAN}),
    ],
)
def test_bn_stats_edges(params, expected):
    metrics = measured("bn_stats", **params)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, nan_ok=True), name


def test_bn_stats_large_mean_cancels():
    """At a mean of a million float32 has 16 numbers per unit: after BN the mean is no longer 0."""
    assert 0.01 < measured("bn_stats", mean=1e6)["max_abs_mean"] < 0.3
