"""Tests the experiment second_derivative against the net's second derivative written out, and difference quotients for
ReLU.
"""

import math

import pytest
import torch
from oracles import measure


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tanh_by_its_formula(seed):
    """The sum of v·w²·(−2 t (1 − t²)), with t = tanh(w x + b), at 32 points."""
    torch.manual_seed(seed)
    first, last = torch.nn.Linear(1, 32), torch.nn.Linear(32, 1)
    w, b = 5 * first.weight.detach().double()[:, 0], 5 * first.bias.detach().double()
    x = torch.linspace(0, 1, 34).double()[1:-1, None]
    t = (x * w + b).tanh()
    bend = (-2 * t * (1 - t * t) * w * w) @ last.weight.detach().double()[0]
    residual = (bend / math.pi**2 + (math.pi * x[:, 0]).sin()).square().mean().item()
    _, metrics = measure("second_derivative", seed, act="tanh", n=1)
    assert metrics["largest_second"] == pytest.approx(bend.abs().max().item(), rel=1e-6)
    assert metrics["residual_start"] == pytest.approx(residual, rel=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_relu_learns_nothing_of_the_equation(seed):
    """No bend, no gradient, a residual that is the mean of sin² throughout: 1/2·(n + 1)/n over n inner points."""
    rows, metrics = measure("second_derivative", seed, act="relu", points=32)
    assert (metrics["largest_second"], metrics["residual_grad_norm"]) == (0, 0)
    assert all(row["residual"] == pytest.approx(33 / 64) for row in rows)
    assert metrics["zero_error"] == pytest.approx(math.sqrt(33 / 64))
    assert metrics["error_end"] > 0.3


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("act", ["tanh", "silu"])
def test_smooth_activations_solve_it(seed, act):
    """Both the residual and the error fall."""
    _, metrics = measure("second_derivative", seed, act=act)
    assert metrics["residual_grad_norm"] > 0
    assert metrics["residual_end"] < metrics["residual_start"] / 3
    assert metrics["error_end"] < 0.2
