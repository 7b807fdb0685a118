"""Tests the experiment fifty_causes against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import measure, measured


def normal_cdf(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


@pytest.mark.parametrize(("seed", "lr"), [(0, 0.5), (1, 0.5), (2, 2.0), (3, 0.05)])
def test_only_overflow_shows_the_symptom(seed, lr):
    """With overflow the accuracy rises and then equals the share of class 0; no other suspected cause does that at any
    rate.
    """
    metrics = measured("fifty_causes", seed, lr=lr)
    assert metrics["overflow_before"] > 0.8 or lr != 0.5
    assert metrics["overflow_final"] == 0.5
    assert metrics["symptom_overflow"] == int(metrics["overflow_before"] > 0.8)
    for name in ("healthy", "sorted", "logistic", "sigmoid"):
        assert metrics[f"symptom_{name}"] == 0, name


@pytest.mark.parametrize("seed", range(3))
def test_healthy_nets_reach_the_best_possible_accuracy(seed):
    """Φ(1) within four standard deviations of 1000 Bernoulli draws; a hidden sigmoid layer needs no bias."""
    metrics, best = measured("fifty_causes", seed), normal_cdf(1)
    assert metrics["theory_best"] == pytest.approx(best, rel=1e-12)
    margin = 4 * math.sqrt(best * (1 - best) / 1000)
    assert abs(metrics["healthy_final"] - best) < margin
    assert abs(metrics["sigmoid_no_bias_final"] - best) < margin
    assert metrics["sorted_loss"] > 0.1
    assert metrics["sorted_first"] < 0.6
    assert metrics["sorted_bn_final"] < 0.6


def test_the_shift_and_not_the_missing_bias_is_the_cause():
    """Logistic units with and without bias fail on shifted inputs and work on unshifted ones; a unit in numpy
    agrees.
    """
    shifted, centred = measured("fifty_causes"), measured("fifty_causes", shift=0.0)
    for name in ("logistic_no_bias", "logistic_bias"):
        assert shifted[f"{name}_mean"] < 0.6
        assert centred[f"{name}_final"] > 0.8
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 500)
    for shift, works in ((20.0, False), (0.0, True)):
        x = np.stack([1.0 - 2 * y, np.zeros(1000)], 1) + rng.standard_normal((1000, 2)) + shift
        w, accuracy = rng.standard_normal(2) * 0.4, []
        for _ in range(6):
            for batch in rng.permutation(1000).reshape(-1, 50):
                p = 1 / (1 + np.exp(-np.clip(x[batch] @ w, -500, 500)))
                w = w - 0.5 * x[batch].T @ (p - y[batch]) / 50
            accuracy.append(((x @ w > 0) == y).mean())
        assert bool(np.mean(accuracy) > 0.75) is works


def test_fifty_causes_edges():
    """Nothing changes at lr = 0; with fewer than three epochs the symptom cannot appear."""
    rows, metrics = measure("fifty_causes", lr=0.0)
    for name in {row["series"] for row in rows} - {"sorted_bn"}:
        assert len({row["accuracy"] for row in rows if row["series"] == name}) == 1
    assert metrics["symptom_overflow"] == 0
    for epochs in (1, 2):
        rows, metrics = measure("fifty_causes", epochs=epochs)
        assert len(rows) == 7 * epochs
        assert metrics["symptom_overflow"] == 0
