"""Tests the experiment lora_step against Adam's first step written in numpy, and against its proportions."""

import numpy as np
import pytest
from oracles import measure, measured


def drawn(seed: int, rank: int, size: float) -> tuple[np.ndarray, ...]:
    """W, x, T and A as the experiment draws them."""
    import torch

    torch.manual_seed(seed)
    frozen, x, u, v = (torch.randn(*shape).double().numpy() for shape in ((64, 64), (64, 64), (64,), (64,)))
    a = (2 * torch.rand(rank, 64) - 1).double().numpy() / 8
    return frozen / 8, x * size, np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v)), a


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("rank", "alpha", "size"), [(16, 16.0, 1.0), (4, 64.0, 1.0), (8, 8.0, 20.0)])
def test_the_first_step(seed, rank, alpha, size):
    """B moves by lr·sign of its gradient; A does not move."""
    frozen, x, delta, a = drawn(seed, rank, size)
    s = alpha / rank
    error = -x @ delta.T / size
    gradient = 2 * s * error.T @ (x @ a.T) / error.size
    b = -2e-3 * gradient / (abs(gradient) + 1e-8)
    change = np.linalg.norm(s * x @ a.T @ b.T) / np.linalg.norm(x @ frozen.T / size)
    metrics = measured("lora_step", seed, rank=rank, alpha=alpha, size=size, n=2)
    assert metrics["first_change"] == pytest.approx(change, rel=1e-3)
    assert metrics["grad_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
    assert metrics["grad_norm_a"] == 0


def test_proportions():
    """The first change is proportional to alpha, lr and size; the gradient norm to alpha and size only."""
    base = measured("lora_step", n=2)
    for changed in ({"alpha": 64.0}, {"lr": 8e-3}, {"size": 4.0}):
        metrics = measured("lora_step", n=2, **changed)
        assert metrics["first_change"] == pytest.approx(4 * base["first_change"], rel=0.01)
        grown = 1 if "lr" in changed else 4
        assert metrics["grad_norm"] == pytest.approx(grown * base["grad_norm"], rel=1e-3)


def test_a_moderate_step_learns_and_a_large_one_diverges():
    rows, metrics = measure("lora_step", lr=0.02)
    assert metrics["final_loss"] < 1e-3
    assert rows[0]["loss"] == 1
    assert measured("lora_step", lr=0.02, alpha=256.0)["largest_loss"] > 10
