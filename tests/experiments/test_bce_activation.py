"""Tests the experiment bce_activation against bounds on each loss and against the same descent in numpy."""

import math

import numpy as np
import pytest
from oracles import measured


def logistic(seed: int, n: int) -> float:
    """The loss of logistic regression after n steps of descent in numpy, from the drawn points and weights."""
    import torch

    torch.manual_seed(seed)
    y = np.arange(400) % 2
    x = torch.randn(400, 2).double().numpy() + 3 * (y - 0.5)[:, None]
    w = torch.randn(3).double().numpy() / 10
    design = np.hstack([x, np.ones((400, 1))])
    for _ in range(n):
        p = 1 / (1 + np.exp(-design @ w))
        w -= 0.5 * design.T @ (p - y) / 400
    z = design @ w
    return float(np.logaddexp(0, np.where(y == 1, -z, z)).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_from_logits(seed):
    metrics = measured("bce_activation", seed, way="logits")
    assert metrics["loss"] == pytest.approx(logistic(seed, 300), rel=1e-3)
    assert metrics["accuracy"] == metrics["sign_accuracy"] > 0.9


@pytest.mark.parametrize("n", [1, 100, 300])
def test_two_sigmoids_have_a_floor(n):
    """The loss is at least ln 2 for each negative, half of the samples, and ln(1 + 1/e) for each positive."""
    metrics = measured("bce_activation", n=n)
    assert metrics["loss"] > metrics["theory_floor"] == pytest.approx((math.log(2) + math.log(1 + math.exp(-1))) / 2)
    assert 0.5 <= metrics["lowest"] <= metrics["highest"] < 1 / (1 + math.exp(-1)) + 1e-6
    assert metrics["accuracy"] == 0.5


def test_softmax_over_one_logit_never_moves():
    """Every probability is 1; as the logarithm of 0 counts as −100, the loss is 50."""
    metrics = measured("bce_activation", way="softmax")
    assert (metrics["gradient"], metrics["lowest"], metrics["accuracy"]) == (0, 1, 0.5)
    assert metrics["loss"] == pytest.approx(50)


def test_relu_before_the_sigmoid():
    """Each negative sample costs at least ln 2."""
    metrics = measured("bce_activation", way="relu")
    assert metrics["loss"] > math.log(2) / 2
    assert metrics["lowest"] == 0.5
