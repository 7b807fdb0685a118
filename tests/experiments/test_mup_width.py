"""Tests the experiment mup_width against the change of the output by sign steps, summed by hand, and against plain
torch modules.
"""

import pytest
import torch
from oracles import demo, measured
from torch import nn


def test_the_net_is_a_stack_of_linear_layers():
    module = demo("mup_width")
    torch.manual_seed(0)
    weights, x = module.weights_of(32, 1), torch.randn(64, 16)
    layers = [nn.Linear(w.shape[1], w.shape[0], bias=False) for w in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = weight
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    assert torch.allclose(module.forward(weights, x), net(x), atol=1e-6)


@pytest.mark.parametrize("down", [1, 4])
def test_first_step_moves_each_weight_by_the_rate(down):
    """Adam's first step is rate·sign(gradient), with the rate divided by `down` in the two later layers."""
    module = demo("mup_width")
    torch.manual_seed(1)
    start, x = module.weights_of(64, down), torch.randn(64, 16)
    y = torch.randn(64, 1)
    leaves = [w.clone().requires_grad_() for w in start]
    gradients = torch.autograd.grad((module.forward(leaves, x) - y).square().mean(), leaves)
    moved = [
        w - 0.01 / (down if index else 1) * g.sign() for index, (w, g) in enumerate(zip(start, gradients, strict=True))
    ]
    expected = (module.forward(moved, x) - module.forward(start, x)).double().square().mean().sqrt().item()
    assert module.train(start, x, y, 0.01, down, 1)[1] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_change_grows_with_the_width_unless_the_rate_falls(seed):
    """The change grows at least in proportion to the width in standard parameters, and hardly in muP."""
    metrics = measured("mup_width", seed, factor=8, n=10)
    assert metrics["growth_standard"] > 8
    assert metrics["growth_mup"] < 2.5
    assert metrics["best_standard"] < metrics["best_narrow"]


def test_at_the_same_width_there_is_nothing_to_carry_over():
    metrics = measured("mup_width", factor=1, n=10)
    assert 0.5 < metrics["growth_standard"] < 2
    assert 0.5 < metrics["growth_mup"] < 2
