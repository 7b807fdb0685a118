"""Tests the experiment truncated_labels against token lists that are built and cut here."""

import math

import numpy as np
import pytest
from oracles import NAN, draws, measure, measured, same


def samples(seed: int, prompt: int, answer: int, n: int = 500) -> list[list[int]]:
    """Each sample as a list of labels: −100 for the prompt, 0 for the answer."""
    a, b = draws(seed, (n,), (n,))
    lengths = [np.maximum(np.round(size * np.exp(0.6 * z)), 1).astype(int) for size, z in ((prompt, a), (answer, b))]
    return [[-100] * p + [0] * q for p, q in zip(*lengths, strict=True)]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("limit", "batch"), [(512, 1), (512, 4), (200, 8), (4000, 1)])
def test_cut_lists(seed, limit, batch):
    """The remaining labels are those of a list cut on the right, or with its prompt cut at the front."""
    found = samples(seed, 400, 100)
    right = [sum(label == 0 for label in labels[:limit]) for labels in found]
    front = [sum(label == 0 for label in labels[labels.count(-100) :][: limit - 1]) for labels in found]
    metrics = measured("truncated_labels", seed, limit=limit, batch=batch)
    assert metrics["unlabelled"] == pytest.approx(np.mean([count == 0 for count in right]), abs=0.005)
    assert metrics["unlabelled_prompt"] == 0
    total = sum(labels.count(0) for labels in found)
    assert metrics["kept"] == pytest.approx(sum(right) / total, rel=0.01)
    assert metrics["kept_prompt"] == pytest.approx(sum(front) / total, rel=0.01)
    groups = [right[k : k + batch] for k in range(0, len(right), batch)]
    assert metrics["nan_batches"] == pytest.approx(np.mean([sum(group) == 0 for group in groups]), abs=0.01)


def test_a_batch_without_labels():
    """Its loss is nan with gradient 0, or 0 when divided by at least 1; with a larger limit fewer samples lose all
    labels.
    """
    rows, metrics = measure("truncated_labels")
    assert same(metrics["empty_loss"], NAN)
    assert (metrics["empty_gradient"], metrics["empty_safe"]) == (0, 0)
    shares = [row["right"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert not math.isnan(shares[-1])
