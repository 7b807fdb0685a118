"""Tests the experiment grad_norm_log against reference values computed by independent code."""

import math

import pytest
import torch
from oracles import INF, measure, measured


def test_norms_are_those_of_clip_grad_norm():
    """Torch's function returns the norm before clipping; both norms agree with it at the first and the bad steps."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    sgd, rows = torch.optim.SGD(net.parameters(), lr=0.05), []
    for step in range(1, 41):
        x = torch.randn(32, 8)
        y = x[:, :1] + 0.1 * torch.randn(32, 1)
        if step % 20 == 0:
            y[0] += 100.0
        sgd.zero_grad()
        (net(x) - y).pow(2).mean().backward()
        before = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0).item()
        after = math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in net.parameters()))
        sgd.step()
        rows.append((before, after))
    ours, _ = measure("grad_norm_log", n=40)
    assert [row["before"] for row in ours] == pytest.approx([before for before, _ in rows], rel=1e-3)
    assert [row["after"] for row in ours] == pytest.approx([after for _, after in rows], rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_only_the_log_before_clipping_shows_the_bad_batches(seed):
    """That log shows all bad batches, the log after clipping none; without clipping they agree."""
    metrics = measured("grad_norm_log", seed)
    assert (metrics["found_before"], metrics["found_after"], metrics["bad_batches"]) == (1, 0, 15)
    assert metrics["max_after"] <= 1 + 1e-6
    assert metrics["ratio_before"] > 50 > 10 > metrics["ratio_after"]
    clean = measured("grad_norm_log", seed, spike=0.0)
    assert clean["found_before"] == clean["found_after"] == 0
    free = measured("grad_norm_log", seed, clip=0.0)
    assert free["max_before"] == free["max_after"]
    assert free["found_before"] == free["found_after"] > 0
    assert free["clipped_share"] == 0


def test_grad_norm_log_edges():
    """A target of 1e30 has an infinite square: the loss is not finite, but the clipped gradient is."""
    metrics = measured("grad_norm_log", spike=1e30)
    assert metrics["first_nan_step"] == 20
    assert metrics["max_after"] <= 1 + 1e-6
    assert math.isfinite(metrics["loss_end"])
    assert metrics["max_before"] < INF
    assert measured("grad_norm_log", lr=0.0, n=20)["bad_batches"] == 1
