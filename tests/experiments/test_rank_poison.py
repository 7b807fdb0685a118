"""Tests the experiment rank_poison against one autograd pass over the data of all ranks, and against what nan does in a
mean.
"""

import pytest
import torch
from oracles import measure, measured


def whole_batch(seed: int, ranks: int) -> float:
    """The last loss on rank 0's batch after 60 autograd steps on all ranks' data together, leaving out step 21."""
    torch.manual_seed(seed)
    target, weights = torch.randn(8), torch.zeros(8, requires_grad=True)
    for step in range(60):
        x, noise = torch.randn(ranks, 32, 8), 0.1 * torch.randn(ranks, 32)
        y = x @ target + noise
        if step != 20:
            loss = (x.reshape(-1, 8) @ weights - y.reshape(-1)).square().mean() / 2
            (gradient,) = torch.autograd.grad(loss, weights)
            weights = (weights - 0.1 * gradient).detach().requires_grad_()
    return float((x @ weights.detach() - y).square().mean())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("ranks", [2, 8])
def test_skipping_together_is_training_without_that_step(seed, ranks):
    metrics = measured("rank_poison", seed, bad="inf", way="together", ranks=ranks)
    assert metrics["loss_end"] == pytest.approx(whole_batch(seed, ranks), rel=1e-3)
    assert metrics["nan_ranks"] == 0


@pytest.mark.parametrize("bad", ["nan", "inf"])
@pytest.mark.parametrize("way", ["none", "clip"])
def test_one_rank_makes_all_weights_nan(bad, way):
    """A flag checked before the reduction is set on the last rank only, one checked after it on all ranks."""
    rows, metrics = measure("rank_poison", bad=bad, way=way, ranks=5)
    assert (metrics["before"], metrics["after"], metrics["nan_ranks"]) == (1, 5, 5)
    assert (metrics["rank"], metrics["bad_step"]) == (4, 21)
    assert [row["after"] for row in rows[:20]] == [0] * 20
    assert rows[-1]["before"] == 5


def test_a_large_number_is_no_bad_gradient():
    """A large finite gradient sets no flag, and the loss stays finite."""
    _, metrics = measure("rank_poison", bad="large")
    assert (metrics["before"], metrics["rank"], metrics["nan_ranks"]) == (0, None, 0)
    assert metrics["loss_end"] > 0.1
    assert measured("rank_poison", bad="nan", way="zero")["loss_end"] < 0.02
