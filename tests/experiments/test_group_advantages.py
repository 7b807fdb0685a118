"""Tests the experiment group_advantages against exact rationals: what the normalised rewards are before any
rounding.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from oracles import NAN, measure, measured, same


def exact(size: int, reward: float, spread: float, eps: float) -> float:
    """The largest |r − mean|/(std + eps) of the float32 rewards, the mean and the variance being exact."""
    rewards = [Fraction(float(np.float32(reward) + np.float32(spread) * (1 - 2 * (k % 2)))) for k in range(size)]
    mean = sum(rewards) / size
    variance = sum((r - mean) ** 2 for r in rewards) / (size - 1)
    top = max(abs(r - mean) for r in rewards)
    return float(top) / (math.sqrt(variance) + eps) if top else 0.0


@pytest.mark.parametrize("spread", [0.1, 1.0, 50.0])
@pytest.mark.parametrize("eps", [1e-8, 1e-4])
def test_rewards_that_differ(spread, eps):
    """All three ways agree with exact arithmetic."""
    rows, metrics = measure("group_advantages", spread=spread, eps=eps, reward=0.5)
    for row in rows[1:]:
        expected = exact(int(row["size"]), 0.5, spread, eps)
        assert row["with_eps"] == pytest.approx(expected, rel=1e-4)
        assert row["guarded"] == pytest.approx(expected, rel=1e-4)
    assert metrics["exact"] == pytest.approx(exact(32, 0.5, spread, eps), rel=1e-5)


@pytest.mark.parametrize("reward", [0.1, 0.3, 1.0, -7.7])
def test_rewards_that_do_not_differ(reward):
    """In exact arithmetic every advantage is 0; in float32 only guarded ones are. Rounding is below (n + 1) units."""
    rows, metrics = measure("group_advantages", reward=reward, eps=1e-4)
    assert metrics["exact"] == metrics["largest_guarded"] == 0
    for row in rows[1:]:
        unit = float(np.spacing(np.float32(abs(reward))))
        assert row["with_eps"] <= (row["size"] + 1) * unit / 1e-4
        assert math.isnan(row["no_eps"]) or row["no_eps"] <= 1.001 * math.sqrt(row["size"])


def test_a_tiny_eps_lets_noise_through():
    """Equal rewards of 0.1 get advantages of order 1; rewards of 1.0, whose sums are exact, get 0."""
    assert measured("group_advantages")["largest"] > 0.1
    assert measured("group_advantages", reward=1.0)["largest"] == 0
    assert measured("group_advantages", reward=1.0)["nan_share"] == 1


def test_a_group_of_one_has_no_std():
    metrics = measured("group_advantages", eps=1.0)
    assert same(metrics["single"], NAN)
    assert metrics["single_guarded"] == 0
