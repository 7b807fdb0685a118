"""Tests the experiment bn_running against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize(
    "params",
    [{}, {"n": 30, "momentum": 0.5, "batch": 3}, {"momentum": 0.0}, {"momentum": 1.0, "mean": -2.0, "width": 2}],
)
def test_bn_running_against_numpy(params):
    """Averages computed by hand, with unbiased variances, agree on the same draws; so do both modes on a fresh
    batch.
    """
    full = {"n": 10, "momentum": 0.1, "mean": 5.0, "std": 3.0, "batch": 64, "width": 32} | params
    shape = (full["batch"], full["width"])
    *batches, fresh = draws(0, *[shape] * full["n"], (4096, full["width"]))
    middle, spread, m = np.zeros(full["width"]), np.ones(full["width"]), full["momentum"]
    for x in (full["mean"] + full["std"] * batch for batch in batches):
        middle, spread = (1 - m) * middle + m * x.mean(0), (1 - m) * spread + m * x.var(0, ddof=1)
    fresh = full["mean"] + full["std"] * fresh
    output = (fresh - middle) / np.sqrt(spread + 1e-5)
    metrics = measured("bn_running", **params)
    assert metrics["mean_ratio"] == pytest.approx(middle.mean() / full["mean"], rel=1e-4, abs=1e-6)
    assert metrics["running_var"] == pytest.approx(spread.mean(), rel=1e-4)
    assert metrics["eval_mean"] == pytest.approx(output.mean(), rel=1e-3, abs=1e-4)
    assert metrics["eval_var"] == pytest.approx(output.var(0).mean(), rel=1e-3)
    assert metrics["train_abs_mean"] < 1e-5
    assert metrics["train_var"] == pytest.approx(1, abs=1e-3)
    plain = np.mean([full["mean"] + full["std"] * batch.mean() for batch in batches])
    assert metrics["cumulative_ratio"] == pytest.approx(plain / full["mean"], rel=1e-4)


def test_bn_running_ten_steps_are_two_thirds_of_the_way():
    """The share is 1 − 0.9^10 = 0.6513; 99 % takes 44 steps."""
    metrics = measured("bn_running", std=0.0)
    assert metrics["theory_ratio"] == pytest.approx(0.6513215599)
    assert metrics["mean_ratio"] == pytest.approx(0.6513215599, rel=1e-5)
    assert metrics["steps_to_99"] == 44
    assert 0.9**44 < 0.01 < 0.9**43


@pytest.mark.parametrize("seed", range(5))
def test_bn_running_claims_and_controls(seed):
    """After 10 steps eval mode is off by more than half a σ; after 200 it is right."""
    assert measured("bn_running", seed)["eval_abs_mean"] > 0.5
    assert measured("bn_running", seed, n=200)["eval_abs_mean"] < 0.05


def test_bn_running_noise_of_small_batches():
    """The scatter between units is σ/√batch·√(m/(2−m)) once initial values are forgotten."""
    for batch in (2, 16):
        metrics = measured("bn_running", n=200, batch=batch, width=128)
        assert metrics["unit_noise"] == pytest.approx(metrics["theory_unit_noise"], rel=0.25)


def test_bn_running_edges():
    """For a true mean of 0 there is no ratio; momentum 0 never moves, momentum 1 moves at once; one unit has no
    scatter.
    """
    assert measured("bn_running", mean=0.0)["mean_ratio"] is None
    assert measured("bn_running", momentum=0.0)["steps_to_99"] is None
    assert measured("bn_running", momentum=1.0)["steps_to_99"] == 1
    assert measured("bn_running", width=1)["unit_noise"] is None
    rows, _ = measure("bn_running", mean=0.0)
    assert "theory" in rows[-1]
    assert "running" not in rows[-1]
