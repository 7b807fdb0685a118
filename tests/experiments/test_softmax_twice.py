"""Tests the experiment softmax_twice against the floor of the loss, the Jacobian at the start, and the same descent in
numpy.
"""

import math

import numpy as np
import pytest
from oracles import measured


def regression(seed: int, n: int) -> tuple[float, float]:
    """Loss and accuracy of softmax regression after n steps, from the drawn points."""
    import torch

    torch.manual_seed(seed)
    centres = torch.randn(10, 20).double().numpy() / math.sqrt(20)
    y = np.arange(600) % 10
    x = np.hstack([6 * centres[y] + torch.randn(600, 20).double().numpy(), np.ones((600, 1))])
    w = np.zeros((21, 10))
    one_hot = np.eye(10)[y]
    for _ in range(n):
        p = np.exp(x @ w)
        p /= p.sum(1, keepdims=True)
        w -= 0.5 * x.T @ (p - one_hot) / 600
    z = x @ w
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(600), y]
    return float(loss.mean()), float((z.argmax(1) == y).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_from_logits(seed):
    metrics = measured("softmax_twice", seed, way="logits", n=100)
    loss, accuracy = regression(seed, 100)
    assert metrics["loss"] == pytest.approx(loss, rel=1e-3)
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=0.002)
    assert metrics["gradient_ratio"] == 1


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_two_softmaxes_have_a_floor(classes):
    """The best vector of probabilities is one-hot: exp(1) against C − 1 times exp(0)."""
    metrics = measured("softmax_twice", classes=classes)
    floor = math.log((math.e + classes - 1) / math.e)
    assert metrics["theory_floor"] == pytest.approx(floor)
    assert metrics["loss"] > floor and metrics["above_floor"] == pytest.approx(metrics["loss"] - floor)
    assert metrics["highest"] <= math.e / (math.e + classes - 1) + 1e-6


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_the_first_gradient_is_divided_by_the_number_of_classes(classes):
    """At equal probabilities the Jacobian of softmax is (I − 11ᵀ/C)/C, and p − y already sums to 0."""
    assert measured("softmax_twice", classes=classes)["gradient_ratio"] == pytest.approx(1 / classes, rel=1e-4)


def test_log_softmax_twice_changes_nothing():
    once, twice = (measured("softmax_twice", way=way) for way in ("logits", "log_softmax"))
    assert twice["loss"] == pytest.approx(once["loss"], rel=1e-3) and twice["accuracy"] == once["accuracy"]
