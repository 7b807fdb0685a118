"""Tests the experiment adam_vanishing against torch modules, the slope of the sigmoid, and the length of Adam's
steps.
"""

import pytest
import torch
from oracles import demo, measure, measured


def test_loss_is_that_of_torch_modules():
    module = demo("adam_vanishing")
    torch.manual_seed(0)
    weights, x, y = [module.xavier(8, 32), module.xavier(32, 1)], torch.randn(128, 8), torch.randn(128, 1)
    layers = [torch.nn.Linear(8, 32, bias=False), torch.nn.Linear(32, 1)]
    layers[0].weight.data, layers[1].weight.data = weights
    output = layers[1](torch.sigmoid(layers[0](x)))
    expected = torch.nn.functional.mse_loss(output - output.mean(), y)
    assert module.loss_of(weights, x, y).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_fall_about_fourfold_a_layer(seed):
    """From depth 4 to depth 10 they fall by a factor of 4⁶, to an order of magnitude."""
    (few, shallow), (many, deep) = (measure("adam_vanishing", seed, depth=depth, n=10) for depth in (4, 10))
    assert 4**6 / 10 < shallow["first_gradient"] / deep["first_gradient"] < 4**6 * 10
    assert max(row["gradient"] for row in many) < 1e-2 * min(row["gradient"] for row in few)


@pytest.mark.parametrize("seed", [0, 1])
def test_adam_learns_where_sgd_stalls(seed):
    metrics = measured("adam_vanishing", seed)
    assert metrics["sgd_first"] < 0.01 < 0.1 < metrics["adam_first"]
    assert metrics["adam_loss"] < 0.8
    assert metrics["sgd_loss"] == pytest.approx(1, abs=0.01)


def test_no_step_is_longer_than_the_rate_and_eps_ends_it():
    """Ten steps of 0.003 change a weight by at most 0.03, and hardly at all if eps is far above the gradient."""
    rows, metrics = measure("adam_vanishing", depth=8, n=10)
    assert rows[0]["adam"] * (2 / 40) ** 0.5 <= 0.03 * 1.2
    assert metrics["adam_first"] > 0.03
    assert measured("adam_vanishing", depth=8, eps=1e-2, n=10)["adam_first"] < 1e-3
