"""Tests the experiment policy_entropy against the Gibbs policy, and its drift under pure noise against a second-order
expansion.
"""

import math

import numpy as np
import pytest
from oracles import measured


@pytest.mark.parametrize(("gap", "bonus", "actions"), [(1.0, 0.3, 20), (0.5, 0.5, 5), (1.0, 0.2, 1000), (0.0, 0.1, 10)])
def test_it_ends_at_the_gibbs_policy(gap, bonus, actions):
    settings = {"normalised": False, "noise": 0.0, "group": 256, "lr": 0.5, "n": 4000, "known": 0.5}
    metrics = measured("policy_entropy", gap=gap, bonus=bonus, actions=actions, **settings)
    p = np.exp(np.r_[gap / bonus, np.zeros(actions - 1)])
    p /= p.sum()
    assert metrics["theory_best"] == pytest.approx(p[0], rel=1e-9)
    assert metrics["best_end"] == pytest.approx(p[0], rel=0.1)
    assert metrics["entropy_end"] == pytest.approx(-(p * np.log(p)).sum(), rel=0.05)
    assert metrics["largest_entropy"] == pytest.approx(math.log(actions))
    assert metrics["critical"] == pytest.approx(gap / math.log(actions))


def test_it_starts_with_what_is_known():
    metrics = measured("policy_entropy", known=0.7, actions=4, n=1, lr=1e-4)
    p = np.array([0.7, 0.1, 0.1, 0.1])
    assert metrics["entropy_start"] == pytest.approx(-(p * np.log(p)).sum())


@pytest.mark.parametrize("group", [4, 16])
def test_noise_alone_lowers_the_entropy(group):
    """Mean loss of entropy near the uniform policy: ½·lr²·(group − 1)/group²·(K − 1)/K² a step, K actions."""
    lr, n, k = 0.1, 100, 10
    lost = [
        math.log(k) - measured("policy_entropy", s, actions=k, lr=lr, n=n, group=group)["entropy_end"]
        for s in range(60)
    ]
    expected = n * lr**2 / 2 * (group - 1) / group**2 * (k - 1) / k**2
    assert np.mean(lost) == pytest.approx(expected, rel=0.25)


def test_what_is_rewarded_is_learned():
    metrics = measured("policy_entropy", gap=1.0, noise=0.1, known=0.1, actions=50)
    assert metrics["best_end"] > 0.9 and metrics["left"] < 0.2
    assert metrics["first_half"] is not None
    assert metrics["theory_best"] == 1


def test_noise_of_any_size_counts_as_one_when_normalised():
    large, small = (measured("policy_entropy", noise=noise, n=300)["entropy_end"] for noise in (1.0, 1e-4))
    assert large == pytest.approx(small, rel=1e-2)
    quiet = measured("policy_entropy", noise=1e-4, n=300, normalised=False)
    assert quiet["entropy_end"] == pytest.approx(quiet["entropy_start"], rel=1e-6)
