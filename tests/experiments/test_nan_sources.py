"""Tests the experiment nan_sources against a training written by hand in numpy, and against what each fault must do."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured

STAGES = {
    "nan_input": (7, 1), "log_of_count": (7, 1), "constant_column": (0, 1), "log_of_zero": (0, 3),
    "sqrt_at_zero": (0, 4), "empty_mask": (7, 3), "all_ignored": (7, 3),
}  # fmt: skip


def train_by_hand(seed: int, lr: float, n: int) -> list[float]:
    """The losses of a training without a fault: gradient descent in float64 on batches in order."""
    x, *raw = draws(seed, (1024, 8), (8, 32), (32, 32), (32, 1))
    weights = [w * math.sqrt(2 / len(w)) for w in raw]
    biases, losses = [np.zeros(w.shape[1]) for w in weights], []
    for step in range(n):
        rows = x[64 * (step % 16) :][:64]
        hidden = [rows]
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            hidden.append(np.maximum(hidden[-1] @ w + b, 0))
        error = hidden[-1] @ weights[-1] + biases[-1] - rows[:, :1] * rows[:, 1:2]
        losses.append((error**2).mean())
        back = 2 * error / len(rows)
        for i in (2, 1, 0):
            grad, shift = hidden[i].T @ back, back.sum(0)
            back = (back @ weights[i].T) * (hidden[i] > 0)
            weights[i], biases[i] = weights[i] - lr * grad, biases[i] - lr * shift
    return losses


def test_nan_sources_without_a_fault():
    """Every loss equals numpy's, nothing goes wrong, and training works at every rate."""
    rows, metrics = measure("nan_sources", 1, cause="none", lr=0.01)
    assert [row["loss"] for row in rows] == pytest.approx(train_by_hand(1, 0.01, 32), rel=1e-4)
    assert metrics["first_bad_step"] is metrics["first_bad_stage"] is metrics["repaired_bad_step"] is None
    assert metrics["rates_that_help"] == 13
    assert metrics["nan_weight_share"] == 0


@pytest.mark.parametrize("cause", STAGES)
def test_nan_sources_faults(cause):
    """Each fault shows at the expected place and step; no rate helps, the repair does."""
    for seed in range(3):
        metrics = measured("nan_sources", seed, cause=cause)
        assert (metrics["first_bad_step"], metrics["first_bad_stage"]) == STAGES[cause]
        assert metrics["rates_that_help"] == 0
        assert metrics["repaired_bad_step"] is None
        assert metrics["repaired_nan_share"] == 0
        assert math.isfinite(metrics["repaired_end"])
        assert (metrics["nan_weight_share"] > 0) is (cause != "all_ignored")


def test_nan_sources_one_bad_number():
    """One bad number of 8192 makes all weights nan; until then losses are those without a fault."""
    rows, metrics = measure("nan_sources", cause="nan_input")
    assert metrics["bad_number_share"] == 1 / 8192
    assert metrics["nan_weight_share"] == 1
    clean = [row["loss"] for row in measure("nan_sources", cause="none")[0]]
    assert [row["loss"] for row in rows][:7] == clean[:7]
    assert all(math.isnan(row["loss"]) for row in rows[7:])
    assert metrics["last_good_loss"] == clean[6]


def test_nan_sources_a_rate_too_large_is_another_matter():
    """Without a fault a large rate diverges and smaller ones do not."""
    metrics = measured("nan_sources", cause="none", lr=10.0)
    assert metrics["first_bad_step"] is not None
    assert 5 <= metrics["rates_that_help"] < 13


def test_nan_sources_labels_zero_and_two():
    """log(1 + e^z) − 2z is unbounded below, so the loss becomes negative; with labels 0 and 1 it cannot."""
    metrics = measured("nan_sources", cause="label_two", lr=0.05)
    assert metrics["loss_end"] < 0 <= metrics["repaired_end"]
    assert measured("nan_sources", cause="label_two", n=8)["first_bad_step"] is None
