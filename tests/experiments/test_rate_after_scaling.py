"""Tests the experiment rate_after_scaling against gradient descent in closed form and torch's own optimisers."""

import numpy as np
import pytest
import torch
from oracles import measured


def problem(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and targets; float64."""
    torch.manual_seed(seed)
    x, w, noise = (torch.randn(*shape, dtype=torch.float64) for shape in ((64, 8), (8,), (64,)))
    return x, x @ w + 0.1 * noise


def left_after(x: torch.Tensor, y: torch.Tensor, rate: float, n: int) -> float:
    """Share of the loss left after n steps of gradient descent from 0, in the basis of the Hessian."""
    design, target = x.numpy(), y.numpy()
    curvatures, basis = np.linalg.eigh(2 * design.T @ design / len(target))
    best = np.linalg.lstsq(design, target, rcond=None)[0]
    away = basis.T @ best * (1 - rate * curvatures) ** n
    floor = np.mean((design @ best - target) ** 2)
    return (floor + 0.5 * np.sum(curvatures * away**2)) / np.mean(target**2)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("scale", "lr", "power"), [(30.0, 3e-4, 2.0), (10.0, 1e-3, 1.0), (255.0, 1e-6, 0.0)])
def test_gradient_descent_in_closed_form(seed, scale, lr, power):
    metrics = measured("rate_after_scaling", seed, scale=scale, lr=lr, power=power)
    x, y = problem(seed)
    assert metrics["end_raw"] == pytest.approx(left_after(scale * x, y, lr, 200), rel=1e-6)
    assert metrics["end_same"] == pytest.approx(left_after(x, y, lr, 200), rel=1e-6)
    assert metrics["end_scaled"] == pytest.approx(left_after(x, y, lr * scale**power, 200), rel=1e-6)


def test_adam_is_that_of_torch():
    metrics = measured("rate_after_scaling", optimiser="adam", lr=0.001, power=1.0, n=50)
    x, y = problem(0)
    w = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.001, eps=1e-12)
    for _ in range(50):
        optimizer.zero_grad()
        (x @ w - y).square().mean().backward()
        optimizer.step()
    assert metrics["end_same"] == pytest.approx(((x @ w - y).square().mean() / y.square().mean()).item(), rel=1e-6)


def test_the_same_training_at_the_matching_power_only():
    assert measured("rate_after_scaling")["apart"] < 1e-9
    assert measured("rate_after_scaling", optimiser="adam", power=1.0)["apart"] < 1e-9
    assert measured("rate_after_scaling", power=1.0)["apart"] > 0.1
    assert measured("rate_after_scaling", optimiser="adam", power=2.0)["apart"] > 0.1


def test_beyond_the_limit_it_diverges():
    limit = measured("rate_after_scaling")["limit_raw"]
    assert measured("rate_after_scaling", lr=0.99 * limit)["end_raw"] < 1
    assert not measured("rate_after_scaling", lr=1.1 * limit, n=500)["end_raw"] < 1


def test_steps():
    metrics = measured("rate_after_scaling")
    assert 2 < metrics["steps_raw"] == metrics["steps_scaled"] < 200
    assert measured("rate_after_scaling", power=0.0)["steps_scaled"] is None
    assert measured("rate_after_scaling", lr=1e-12, n=1)["end_raw"] == pytest.approx(1)
