"""Tests the experiment sigmoid_from_output against 50-digit arithmetic and a net trained by autograd."""

from decimal import Decimal, getcontext

import pytest
import torch
from oracles import measure, measured

getcontext().prec = 50


@pytest.mark.parametrize("z", [-30.0, -3.0, 0.0, 0.5, 3.0, 40.0])
def test_the_three_formulas(z):
    """The true slope is the one from the output; the others are what their formula says."""
    y = 1 / (1 + (-Decimal(z)).exp())
    twice = 1 / (1 + (-y).exp())
    metrics = measured("sigmoid_from_output", z=z, n=1)
    assert metrics["true_slope"] == pytest.approx(float(y * (1 - y)), rel=1e-6, abs=1e-16)
    assert metrics["output_slope"] == pytest.approx(metrics["true_slope"], rel=1e-6, abs=1e-16)
    assert metrics["float32_product_slope"] == pytest.approx(float(y * (1 - y)), rel=1e-4)
    assert metrics["input_slope"] == z * (1 - z)
    assert metrics["twice_slope"] == pytest.approx(float(twice * (1 - twice)))


def test_float32_loses_the_slope_of_a_saturated_unit():
    """The slope y·(1 − y) is 0 where y rounds to 1."""
    assert measured("sigmoid_from_output", z=20.0, n=1)["float32_output_slope"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_with_the_right_slope_is_autograd(seed):
    """The same loss after 50 steps; a wrong slope does worse in the end."""
    torch.manual_seed(seed)
    weights = [torch.randn(shape).double().requires_grad_() for shape in ((2, 4), (4,), (4, 1), (1,))]
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).double()
    target = torch.tensor([[0.0], [1.0], [1.0], [0.0]]).double()

    def loss():
        w1, b1, w2, b2 = weights
        return (((x @ w1 + b1).sigmoid() @ w2 + b2).sigmoid() - target).square().mean() / 2

    for _ in range(50):
        for weight, gradient in zip(weights, torch.autograd.grad(loss(), weights), strict=True):
            weight.data -= 2.0 * gradient
    _, metrics = measure("sigmoid_from_output", seed, case="output", n=50)
    assert metrics["loss_end"] == metrics["right_end"] == pytest.approx(loss().item(), rel=1e-9)
    assert metrics["cosine"] == pytest.approx(1)
    _, wrong = measure("sigmoid_from_output", seed, case="twice")
    assert wrong["loss_end"] > 5 * wrong["right_end"]
