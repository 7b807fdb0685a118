"""Tests the experiment reward_spikes against torch.optim.SGD with clip_grad_norm_, and against the variance of the
noise.
"""

import math

import pytest
import torch
from oracles import measure, measured
from torch import nn


def by_torch(seed: int, iterations: int, clip: float, rare: float = 5e-4) -> list[float]:
    """The value losses of the same training with torch's optimiser and clipping."""
    torch.manual_seed(seed)
    right = torch.randn(4, 4)
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 5))
    torch.randn(512, 4)  # the probe
    sgd, losses = torch.optim.SGD(net.parameters(), lr=1.0), []
    for _ in range(iterations):
        x, happens = torch.randn(128, 4), (torch.rand(128) < rare).float()
        out = net(x)
        policy = torch.distributions.Categorical(logits=out[:, :4])
        action = (policy.logits.detach() - (-torch.rand(128, 4).log()).log()).argmax(1)
        reward = (action == (x @ right).argmax(1)).float() + (happens - rare) / math.sqrt(rare * (1 - rare))
        advantage = reward - out[:, 4].detach()
        advantage = (advantage - advantage.mean()) / advantage.std()
        value_loss = nn.functional.mse_loss(out[:, 4], reward)
        sgd.zero_grad()
        (value_loss / 2 - (advantage * policy.log_prob(action)).mean()).backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        sgd.step()
        losses.append(value_loss.item())
    return losses


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_against_torchs_optimiser(seed, clip):
    """Losses are compared before an unclipped run diverges, as every rounding error is amplified after that."""
    rows, _ = measure("reward_spikes", seed, n=20, clip=clip)
    losses = [row["value_loss"] for row in rows[:10]]
    assert losses == pytest.approx(by_torch(seed, 10, clip), rel=1e-2, abs=1e-3)


def test_the_noise_has_the_same_variance_whatever_its_rarity():
    """Rare noise is larger, so for frequent small noise the median exceeds the variance."""
    for rare in (0.5, 5e-4):
        bonus = measured("reward_spikes", rare=rare, n=20)["bonus"]
        assert bonus**2 * rare * (1 - rare) == pytest.approx(1)
    assert 1 < measured("reward_spikes", rare=0.5)["median_loss"] < 1.5


def test_a_policy_of_nan_earns_nothing():
    metrics = measured("reward_spikes", 0, clip=0.0, lr=10.0, n=40)
    assert metrics["finite"] == 0
    assert metrics["end_return"] == 0
