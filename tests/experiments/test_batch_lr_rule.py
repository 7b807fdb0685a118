"""Tests the experiment batch_lr_rule against the exact recursion of second moments for SGD, and against torch's
Adam.
"""

import math

import pytest
import torch
from oracles import demo, measure, measured


def expected(rate: float, noise: float, steps: int) -> float:
    """The expected loss ½ΣλE w², where E w² follows m ← (1 − rate·λ)²m + rate²·noise²."""
    total = 0.0
    for curvature in [0.05 ** (1 - index / 7) for index in range(8)]:
        moment = 9.0
        for _ in range(steps):
            moment = (1 - rate * curvature) ** 2 * moment + rate**2 * noise**2
        total += curvature * moment / 2
    return total


@pytest.mark.parametrize("seed", [0, 1])
def test_sgd_has_the_expected_loss(seed):
    """For every number of GPUs and every rule the loss is as expected, up to the sampling error of 256 copies."""
    rows, metrics = measure("batch_lr_rule", seed)
    for row in rows:
        count = row["ranks"]
        for rule, power in (("same", 0), ("root", 0.5), ("linear", 1)):
            loss = expected(0.01 * count**power, 1 / math.sqrt(count), 1024 // count)
            assert row[rule] == pytest.approx(loss, rel=0.12)
    assert metrics["limit"] == pytest.approx(200)


def test_linear_diverges_beyond_the_limit():
    assert measured("batch_lr_rule", ranks=128)["linear_ratio"] < 3
    assert measured("batch_lr_rule", ranks=256)["linear_ratio"] > 50


def test_adam_is_torchs():
    """Five steps with the same noise equal those of torch's Adam."""
    module = demo("batch_lr_rule")
    torch.manual_seed(3)
    found = module.adam(torch.tensor([[[0.05]]]), 2.0, 5)
    torch.manual_seed(3)
    weights = torch.full((1, 256, 8), 3.0, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(5):
        weights.grad = module.noisy_gradient(weights.detach(), 2.0)
        optimizer.step()
    assert found == pytest.approx(module.mean_losses(weights.detach()), rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_adam_wants_the_root_where_gradients_are_noise(seed):
    metrics = measured("batch_lr_rule", seed, optimizer="adam", lr=0.05, noise=20.0, ranks=16, n=2048)
    assert 0.85 < metrics["root_ratio"] < 1.15
    assert metrics["same_ratio"] > 1.3
    assert metrics["linear_ratio"] > 2
