"""Tests the experiment trajectory_pca against reference values computed by independent code."""

import math
from itertools import pairwise

import numpy as np
import pytest
from oracles import demo, measured


def test_trajectory_pca_shares_by_covariance():
    """The shares are those of the eigenvalues of numpy's covariance of the same path."""
    import torch

    torch.manual_seed(0)
    path, loss = demo("trajectory_pca").training([4, 6, 6, 1], 30, 0.05)
    path = path.numpy()
    values = np.linalg.eigvalsh(np.cov(path.T))[::-1]
    metrics = measured("trajectory_pca", n=30, width=6)
    assert metrics["first_share"] == pytest.approx(values[0] / values.sum())
    assert metrics["explained"] == pytest.approx(values[:2].sum() / values.sum())
    assert metrics["loss_end"] == loss
    lengths = sum(np.linalg.norm(b - a) for a, b in pairwise(path))
    assert metrics["straightness"] == pytest.approx(np.linalg.norm(path[-1] - path[0]) / lengths)
    assert metrics["dimensions"] == path.shape[1] == 79


def test_trajectory_pca_random_walk():
    """6/(π²k²): 0.608 and 0.152 in the limit of many dimensions and steps."""
    metrics = measured("trajectory_pca", walk="random", n=400, width=64)
    assert metrics["first_share"] == pytest.approx(6 / math.pi**2, rel=0.03)
    assert metrics["second_share"] == pytest.approx(1.5 / math.pi**2, rel=0.05)
    assert metrics["theory_random_walk"] == pytest.approx(6 / math.pi**2 * 1.25)
    assert metrics["loss_end"] is None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trajectory_pca_claims(seed):
    """Two components explain more than 0.9 of a training path, and near 0.76 of a random walk."""
    metrics = measured("trajectory_pca", seed)
    assert metrics["explained"] > 0.9
    assert metrics["excess"] == pytest.approx(metrics["explained"] - metrics["theory_random_walk"])
    assert measured("trajectory_pca", seed, walk="random")["explained"] < 0.85


def test_trajectory_pca_edges():
    """Three steps are a path; a net that diverges is drawn as far as it is finite."""
    assert measured("trajectory_pca", n=3)["explained"] == pytest.approx(1, abs=0.05)
    assert 0 < measured("trajectory_pca", lr=0.3, width=64, n=300)["explained"] <= 1 + 1e-9
