"""Tests the experiment shuffle_order: what a run must do whatever the numbers, and the optimal accuracy in closed
form.
"""

import itertools
import math

import pytest
from oracles import measure

BAYES = (0.5 * (1 + math.erf(2 / 0.8 / math.sqrt(2)))) ** 2
"""Accuracy of the best classifier: both coordinates on the right side of 0."""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_large_rate_needs_a_shuffle(seed):
    """Shuffled, once or anew, the net is as good as can be; sorted it has forgotten classes at a small loss."""
    rows, metrics = measure("shuffle_order", seed, lr=0.5)
    for order in ("shuffled", "fixed"):
        assert metrics[f"{order}_accuracy"] == pytest.approx(BAYES, abs=0.02)
        assert metrics[f"{order}_last"] == pytest.approx(0.25, abs=0.02)
    assert metrics["ordered_accuracy"] < 0.85
    assert metrics["ordered_train_loss"] < 0.05 < metrics["ordered_true_loss"]
    assert rows[-1]["ordered"] == metrics["ordered_accuracy"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_small_rate_does_not(seed):
    """The steps of one epoch add up to nearly the same whatever their order."""
    _, metrics = measure("shuffle_order", seed, lr=0.03)
    assert metrics["ordered_accuracy"] == pytest.approx(metrics["shuffled_accuracy"], abs=0.03)


def test_the_swing_is_the_largest_fall():
    """The swing is the largest fall of the accuracy from one row to the next."""
    rows, metrics = measure("shuffle_order", 1, epochs=2)
    accuracies = [row["ordered"] for row in rows]
    assert len(rows) == 16
    assert metrics["ordered_swing"] == max(0.0, *(a - b for a, b in itertools.pairwise(accuracies)))
