"""Tests the experiment one_class_gradient: exact zeros by arithmetic, and a task with a known boundary."""

import pytest
from oracles import measure


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("lr", [1e-5, 0.1, 10.0])
def test_one_logit_is_exactly_nothing(seed, lr):
    """The softmax of one number is 1 and its logarithm 0, so there is no gradient and no change at any rate."""
    rows, metrics = measure("one_class_gradient", seed, case="one_logit", lr=lr, n=20)
    assert all((row["loss"], row["grad_norm"], row["accuracy"]) == (0, 0, 1) for row in rows)
    assert metrics["weight_change"] == 0
    assert metrics["classes_seen"] == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_label_dies_away(seed):
    """With a single label the training accuracy is 1, the gradient vanishes, and the test accuracy is at chance."""
    _, metrics = measure("one_class_gradient", seed, case="one_label")
    assert 0 < metrics["grad_end"] < metrics["grad_start"] / 100
    assert metrics["loss_end"] < 1e-2
    assert metrics["train_accuracy"] == 1
    assert metrics["test_accuracy"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", ["sigmoid", "both"])
def test_both_cures_learn(seed, case):
    """The task's true boundary passes through the origin and is easy to learn."""
    _, metrics = measure("one_class_gradient", seed, case=case)
    assert metrics["test_accuracy"] > 0.95
    assert metrics["classes_seen"] == 2
