"""Tests the experiment triplet_collapse against triplets counted one by one in numpy, and the theory of shrinking."""

import itertools

import numpy as np
import pytest
from oracles import measured


def start(seed: int, separation: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the first embeddings of eight classes, and the labels."""
    import torch

    torch.manual_seed(seed)
    centres, points, weight = torch.randn(8, 16), torch.randn(64, 16), torch.randn(16, 4)
    labels = np.arange(8).repeat(8)
    e = (separation * centres.double().numpy()[labels] + points.double().numpy()) @ weight.double().numpy() / 4
    return np.sqrt(((e[:, None] - e[None]) ** 2).sum(2) + 1e-12), labels


@pytest.mark.parametrize("seed", [0, 1])
def test_gaps_and_loss_at_the_start(seed):
    d, labels = start(seed, 0.5)
    triplets = [
        (a, p, n)
        for a, p, n in itertools.product(range(64), repeat=3)
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]
    every = np.array([d[a, p] - d[a, n] for a, p, n in triplets])
    hardest = np.array(
        [max(d[a, labels == labels[a]]) - min(d[a, labels != labels[a]]) for a in range(64)],
    )
    metrics = measured("triplet_collapse", seed, mining="all", n=1)
    assert metrics["gap_start_all"] == pytest.approx(every.mean(), rel=1e-4)
    assert metrics["gap_start"] == pytest.approx(hardest.mean(), rel=1e-4)
    assert metrics["loss_start"] == pytest.approx(np.maximum(every + 0.2, 0).mean(), rel=1e-4)
    assert metrics["spread_start"] == pytest.approx(d.sum() / (64 * 63), rel=1e-4)
    hard = measured("triplet_collapse", seed, mining="hard", n=1)
    assert hard["loss_start"] == pytest.approx(np.maximum(hardest + 0.2, 0).mean(), rel=1e-4)


@pytest.mark.parametrize("margin", [0.1, 0.3])
def test_hardest_triplets_end_at_the_margin(margin):
    metrics = measured("triplet_collapse", margin=margin)
    assert metrics["loss_end"] == pytest.approx(margin, abs=0.05)
    assert metrics["over_margin"] == pytest.approx(metrics["loss_end"] / margin)
    assert metrics["spread_end"] < metrics["spread_start"] / 30


def test_all_triplets_separate_the_classes():
    every, hard = (measured("triplet_collapse", mining=mining) for mining in ("all", "hard"))
    assert every["loss_end"] < 0.14 < hard["loss_end"]
    assert every["nearest"] > hard["nearest"]
    assert measured("triplet_collapse", mining="hard", separation=3.0)["nearest"] == 1
