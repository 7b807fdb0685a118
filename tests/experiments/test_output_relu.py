"""Tests the experiment output_relu: which nets die, what they predict, and which loss remains."""

import math

import numpy as np
import pytest
from oracles import measured


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_output_stays_dead(seed):
    """Only the net with a ReLU output dies; a dead net has no gradient, predicts 0 and has the corresponding loss."""
    metrics = measured("output_relu", seed)
    assert metrics["dead_end"] >= metrics["dead_start"] > 0
    assert metrics["gradient"] == metrics["revived"] == metrics["constant_value"] == 0
    assert metrics["constant_loss"] == pytest.approx(metrics["zero_loss"], rel=1e-9)
    for output in ("linear", "softplus"):
        other = measured("output_relu", seed, output=output)
        assert other["dead_start"] == other["dead_end"] == 0
        assert other["gradient"] > 0


@pytest.mark.parametrize("seed", range(3))
def test_the_constant_that_is_left_is_the_mean(seed):
    """A constant output is near the mean of the targets, and its loss near their variance."""
    metrics = measured("output_relu", seed, output="linear", layers=1)
    assert metrics["constant_share"] > 0
    assert metrics["constant_value"] == pytest.approx(metrics["target_mean"], rel=0.02)
    assert metrics["constant_loss"] == pytest.approx(1, abs=0.05)
    assert measured("output_relu", seed, output="linear", layers=1, offset=0.0)["constant_share"] == 0


def test_targets():
    """For standard normal z, exp(z/2) has mean e^(1/8) and second moment e^(1/2), so predicting 0 costs e^¼/(e^¼ −
    1).
    """
    metrics = [measured("output_relu", seed, n=1, nets=5) for seed in range(12)]
    assert np.mean([m["target_mean"] for m in metrics]) == pytest.approx(math.exp(1 / 8), rel=0.06)
    assert np.median([m["zero_loss"] for m in metrics]) == pytest.approx(math.exp(0.25) / math.expm1(0.25), rel=0.25)


def test_nothing_moves_without_a_rate():
    """At rate 0 the nets end as they began."""
    metrics = measured("output_relu", lr=0.0)
    assert metrics["dead_start"] == metrics["dead_end"] > 0
