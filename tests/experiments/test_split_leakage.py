"""Tests the experiment split_leakage against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import measured


def test_split_leakage_groups_by_numpy():
    """The same data in numpy, nearest neighbours by brute force."""
    import torch

    n, group, noise = 30, 4, 0.3
    torch.manual_seed(0)
    label = np.repeat(torch.randint(2, (n,)).numpy(), group)
    features = np.repeat(torch.randn(n, 16).numpy(), group, axis=0)
    held = np.repeat(np.isin(np.arange(n), torch.randperm(n)[:9].numpy()), group)
    features = features + noise * torch.randn(n * group, 16).numpy()
    at_random = np.isin(np.arange(n * group), torch.randperm(n * group)[:36].numpy())

    def accuracy(out):
        distance = ((features[out][:, None] - features[~out][None]) ** 2).sum(2)
        return (label[~out][distance.argmin(1)] == label[out]).mean()

    metrics = measured("split_leakage", n=n, group=group, noise=noise)
    assert metrics["random_accuracy"] == pytest.approx(accuracy(at_random))
    assert metrics["honest_accuracy"] == pytest.approx(accuracy(held))
    assert metrics["inflation"] == pytest.approx(accuracy(at_random) - accuracy(held))
    assert metrics["n_validation"] == held.sum()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("kind", "random"), [("groups", 0.95), ("series", 0.7)])
def test_split_leakage_claims(kind, random, seed):
    """If there is nothing to learn, only the random split scores above chance; with a real effect the grouped split
    does too.
    """
    metrics = measured("split_leakage", seed, kind=kind)
    assert metrics["random_accuracy"] > random
    assert abs(metrics["honest_accuracy"] - 0.5) < 0.15
    effect = measured("split_leakage", seed, kind=kind, signal=5.0)
    assert effect["honest_accuracy"] > 0.95


def test_split_leakage_edges():
    """Duplicates are found without fail; groups of one leak nothing."""
    assert measured("split_leakage", noise=0.0)["random_accuracy"] == 1
    assert abs(measured("split_leakage", n=500, group=1)["random_accuracy"] - 0.5) < 0.15
    assert measured("split_leakage", noise=100.0)["random_accuracy"] < 0.6
