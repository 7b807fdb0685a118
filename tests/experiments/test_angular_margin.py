"""Tests the experiment angular_margin against angles taken with acos in float64, and the theory of the first loss and
of the floor.
"""

import math

import pytest
import torch
from oracles import measured
from scipy.special import logsumexp


def first_loss(seed: int, classes: int, dims: int, scale: float, margin: float) -> float:
    torch.manual_seed(seed)
    prototypes = torch.randn(classes, dims)
    embed = torch.randn(dims, dims) / math.sqrt(dims)
    vectors = torch.randn(classes, dims)
    torch.randint(classes, (500,)), torch.randn(500, dims)
    labels = torch.randint(classes, (128,))
    samples = prototypes[labels] + torch.randn(128, dims)
    a = (samples.double() @ embed.double()).numpy()
    b = vectors.double().numpy()
    losses = []
    for row, label in zip(a, labels.tolist(), strict=True):
        cos = b @ row / (((b**2).sum(1) ** 0.5) * (row**2).sum() ** 0.5)
        cos[label] = math.cos(math.acos(cos[label]) + margin)
        losses.append(logsumexp(scale * cos) - scale * cos[label])
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.5), (30.0, 0.3), (10.0, 0.0)])
def test_first_loss(scale, margin):
    metrics = measured("angular_margin", classes=200, dims=64, scale=scale, margin=margin, n=1)
    assert metrics["loss_start"] == pytest.approx(first_loss(0, 200, 64, scale, margin), rel=1e-4)


@pytest.mark.parametrize(("scale", "classes"), [(10.0, 100), (16.0, 1000), (30.0, 500)])
def test_theory_of_the_first_loss(scale, classes):
    metrics = measured("angular_margin", scale=scale, classes=classes, n=1)
    assert metrics["loss_start"] == pytest.approx(metrics["theory_start"], rel=0.03)


def test_floor():
    metrics = measured("angular_margin", scale=4.0, n=1)
    right, others = 4 * math.cos(0.5), math.log(499)
    assert metrics["floor"] == pytest.approx(math.log(math.exp(right) + math.exp(others)) - right, rel=1e-9)


def test_counted_is_below_plain_and_equal_without_a_margin():
    metrics = measured("angular_margin")
    assert metrics["counted"] < 0.05 < 0.7 < metrics["plain"]
    without = measured("angular_margin", margin=0.0)
    assert without["counted"] == without["plain"]
