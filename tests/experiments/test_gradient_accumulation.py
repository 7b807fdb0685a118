"""Tests the experiment gradient_accumulation against a recursion in numpy, with the gradients of least squares written
out.
"""

import numpy as np
import pytest
import torch
from oracles import measure, measured

CASES = ["right", "undivided", "no_zero", "uneven", "weighted"]


def recursion(seed: int, case: str, pieces: int, lr: float, n: int) -> float:
    """The loss after n updates, computed in float64."""
    torch.manual_seed(seed)
    target, x = torch.randn(8), torch.randn(256, 8)
    y = (x @ target + torch.randn(256) / 2).double().numpy()
    x = x.double().numpy()
    w, total = np.zeros(8), np.zeros(8)
    for update in range(n):
        at = 64 * (update % 4)
        if case in ("uneven", "weighted"):
            blocks = [*np.array_split(np.arange(63), pieces - 1), np.array([63])]
        else:
            blocks = np.array_split(np.arange(64), pieces)
        gradient = np.zeros(8)
        for block in blocks:
            u, v = x[at + block], y[at + block]
            weight = {"undivided": 1.0, "weighted": len(block) / 64}.get(case, 1 / pieces)
            gradient += weight * 2 * u.T @ (u @ w - v) / len(block)
        total = total + gradient if case == "no_zero" else gradient
        w = w - lr * total
    return float(((x @ w - y) ** 2).mean())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pieces", [2, 8])
def test_the_loss_of_each_way(seed, case, pieces):
    """The rate is so small that no way diverges beyond float32."""
    _, metrics = measure("gradient_accumulation", seed, case=case, pieces=pieces, lr=0.01, n=30)
    assert metrics["loss_end"] == pytest.approx(recursion(seed, case, pieces, 0.01, 30), rel=2e-3)


def test_the_first_gradient():
    """With equal pieces it is exactly right, or exactly `pieces` times too large; with unequal ones it is right only if
    weighted.
    """
    assert measured("gradient_accumulation", case="right")["first_err"] < 1e-5
    assert measured("gradient_accumulation", case="undivided")["first_ratio"] == pytest.approx(8, rel=1e-5)
    assert measured("gradient_accumulation", case="weighted")["first_err"] < 1e-5
    assert measured("gradient_accumulation", case="uneven")["first_err"] > 0.02


def test_without_zero_grad_it_swings():
    """As each step follows the sum of all gradients, it does not converge at a rate at which the right way does."""
    right, swinging = (measured("gradient_accumulation", case=case) for case in ("right", "no_zero"))
    assert right["loss_end"] == pytest.approx(right["whole_end"], rel=1e-4)
    assert swinging["largest_loss"] > 2 * swinging["whole_end"]
