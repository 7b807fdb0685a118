"""Tests the experiment window_norm: what an affine map can and cannot change, and accuracies that follow from the
model.
"""

import pytest
from oracles import measure


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_level_is_gone_behind_layer_norm(seed):
    """Means of 0, and a class that is the level is guessed no better than by a coin."""
    _, metrics = measure("window_norm", seed, label="level", shift=0.0)
    assert metrics["level_left"] < 1e-10
    assert metrics["window_accuracy"] == pytest.approx(0.5, abs=0.08)
    assert metrics["batch_accuracy"] > 0.9
    assert metrics["running_accuracy"] > 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shift", [0.0, 5.0, 100.0])
def test_drift(seed, shift):
    """Layer norm and statistics of the batch do not see it at all; a far drift puts all windows on one side."""
    _, metrics = measure("window_norm", seed, label="shape", spread=0.0, shift=shift)
    _, still = measure("window_norm", seed, label="shape", spread=0.0, shift=0.0)
    assert metrics["window_accuracy"] == still["window_accuracy"] > 0.95
    assert metrics["batch_accuracy"] == pytest.approx(still["batch_accuracy"], abs=0.01)
    if shift == 100:
        assert metrics["running_accuracy"] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_statistics_are_an_affine_map(seed):
    """Normalising by training statistics therefore hardly changes a linear classifier."""
    _, metrics = measure("window_norm", seed, label="level", shift=0.3)
    assert metrics["running_accuracy"] == pytest.approx(metrics["none_accuracy"], abs=0.02)
