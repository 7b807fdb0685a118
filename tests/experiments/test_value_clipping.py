"""Tests the experiment value_clipping: its gradients against autograd of the losses as written, and the path of plain
descent.
"""

import math

import pytest
from oracles import demo, measure, measured


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, -0.4, 2.0])
@pytest.mark.parametrize("way", ["plain", "clipped", "huber"])
def test_gradients_are_those_of_the_losses(way, value):
    import torch

    torch.manual_seed(0)
    targets = 1 + torch.randn(64).double()
    v = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    if way == "huber":
        loss = torch.nn.functional.smooth_l1_loss(v.expand(64), targets)
    else:
        loss = (v - targets) ** 2 / 2
        if way == "clipped":
            loss = torch.maximum(loss, (v.clamp(-0.2, 0.2) - targets) ** 2 / 2)
        loss = loss.mean()
    (expected,) = torch.autograd.grad(loss, v)
    assert demo("value_clipping").gradient(way, value, 0.0, targets, 0.2) == pytest.approx(expected.item())


@pytest.mark.parametrize("x", [1.0, 100.0])
def test_sizes(x):
    """The first gradient is the mean return and the loss half its mean square; what clipping leaves follows from
    these.
    """
    metrics = measured("value_clipping", x=x)
    assert metrics["gradient_plain"] == pytest.approx(x, rel=0.15)
    assert metrics["gradient_clipped"] == metrics["gradient_plain"]
    assert metrics["gradient_scaled"] == pytest.approx(4 / math.sqrt(17), rel=0.05)
    assert metrics["gradient_huber"] <= 1
    assert metrics["loss_plain"] == pytest.approx(x * x * 17 / 32, rel=0.2)
    assert metrics["policy"] == pytest.approx(1, rel=0.4)
    total = math.hypot(metrics["policy"], 0.5 * metrics["gradient_plain"])
    assert metrics["left_plain"] == pytest.approx(metrics["policy"] / total)


def test_paths():
    """Plain descent leaves (1 − lr)^steps of the distance; a clip smaller than a step allows one step per batch."""
    rows, metrics = measure("value_clipping", n=20)
    assert rows[-1]["plain"] == pytest.approx(0.99**200, abs=0.05)
    assert rows[-1]["clipped"] == pytest.approx(0.99**20, abs=0.05)
    assert metrics["missing_clipped"] == rows[-1]["clipped"]
