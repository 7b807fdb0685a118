"""Tests the experiment temperature_tuning against the temperature at which a Boltzmann policy has the target entropy,
by bisection.
"""

import math

import numpy as np
import pytest
from oracles import draws, measured
from scipy.optimize import brentq


def entropy(q: np.ndarray, alpha: float) -> float:
    z = q / alpha - (q / alpha).max()
    p = np.exp(z) / np.exp(z).sum()
    return float(-(p * np.log(np.maximum(p, 1e-300))).sum())


@pytest.mark.parametrize(("target", "actions", "seed"), [(0.5, 6, 0), (0.3, 6, 1), (0.7, 20, 0), (0.9, 2, 2)])
def test_it_settles_where_the_entropy_is_the_target(target, actions, seed):
    (q,) = draws(seed, (actions,))
    aim = target * math.log(actions)
    right = brentq(lambda alpha: entropy(q, alpha) - aim, 1e-2, 1e3)
    metrics = measured("temperature_tuning", seed, target=target, actions=actions, lr=0.05, n=5000)
    assert metrics["alpha_end"] == pytest.approx(right, rel=1e-2)
    assert metrics["entropy_end"] == pytest.approx(aim, rel=1e-3)
    assert metrics["target_entropy"] == pytest.approx(aim, rel=1e-12)


def test_out_of_reach_it_grows_for_ever():
    metrics = measured("temperature_tuning", target=1.5, actions=10, lr=0.01, n=3000)
    gap = 0.5 * math.log(10)
    assert metrics["growth"] == pytest.approx(math.exp(0.01 * gap), rel=1e-6)
    assert metrics["theory_growth"] == pytest.approx(math.exp(0.01 * gap), rel=1e-12)
    assert math.log(metrics["alpha_end"]) == pytest.approx(30 * gap, rel=0.1)
    assert metrics["entropy_end"] == pytest.approx(math.log(10), rel=1e-6)
    assert metrics["value_end"] < metrics["largest_value"]
