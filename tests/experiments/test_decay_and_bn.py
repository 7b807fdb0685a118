"""Tests the experiment decay_and_bn against autograd through torch's batch norm, and against the limit 2/curvature of
gradient descent.
"""

import pytest
import torch
from oracles import demo, measured


def problem(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, target direction and the curvatures of the loss on the sphere, at the solution."""
    torch.manual_seed(seed)
    x = torch.randn(256, 16, dtype=torch.float64)
    x = x - x.mean(0)
    solution = torch.randn(16, dtype=torch.float64)
    solution = solution / solution.norm()
    target = demo("decay_and_bn").normalised(x @ solution)[0]
    hessian = torch.autograd.functional.hessian(lambda w: half_error(w, x, target), solution)
    return x, target, torch.linalg.eigvalsh(hessian)


def half_error(weight: torch.Tensor, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    output = torch.nn.functional.batch_norm((x @ weight)[:, None], None, None, training=True, eps=1e-30)[:, 0]
    return (output - target).square().mean() / 2


def test_gradient_is_autograds():
    """It equals autograd's through torch's batch norm, is perpendicular to the weights and inversely proportional to
    their size.
    """
    x, target, _ = problem(0)
    weight = torch.randn(16, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(half_error(weight, x, target), weight)
    loss, found = demo("decay_and_bn").loss_and_gradient(weight.detach(), x, target)
    assert torch.allclose(found, expected)
    assert loss == pytest.approx(half_error(weight, x, target).item())
    assert abs(found @ weight.detach()) < 1e-12
    assert torch.allclose(demo("decay_and_bn").loss_and_gradient(10 * weight.detach(), x, target)[1], found / 10)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_rate_grows_to_the_limit_and_the_loss_jumps(seed):
    """The effective learning rate exceeds 2/λ_max, but not by much."""
    limit = 2 / problem(seed)[2].max().item()
    metrics = measured("decay_and_bn", seed)
    assert limit < metrics["rate_largest"] < 1.4 * limit
    assert metrics["jumps"] > 20
    assert metrics["first_jump"] > 1500
    assert metrics["norm_end"] < 0.7


@pytest.mark.parametrize("seed", [0, 1])
def test_without_enough_decay_there_is_no_jump(seed):
    """The norm falls by at most a factor 1 − lr·decay per step; without decay it only grows."""
    none = measured("decay_and_bn", seed, decay=0.0)
    assert none["norm_end"] > 1
    assert (none["jumps"], none["first_jump"]) == (0, None)
    little = measured("decay_and_bn", seed, decay=1e-4)
    assert little["norm_end"] >= none["norm_end"] * (1 - 0.3e-4) ** 8000 * 0.99
    assert little["worst"] < 1e-20
    assert measured("decay_and_bn", seed, schedule="cosine")["jumps"] == 0
