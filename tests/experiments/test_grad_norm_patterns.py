"""Tests the experiment grad_norm_patterns against reference values computed by independent code."""

from itertools import pairwise

import numpy as np
import pytest
from oracles import PHI, draws, measured


@pytest.mark.parametrize("act", ["relu", "tanh"])
@pytest.mark.parametrize("case", ["healthy", "weights", "sum"])
def test_norms_agree_with_backpropagation_by_hand(case, act):
    """The total norm and the factors of signal and weights equal those of a numpy net."""
    sizes = [8, *[32] * 11, 1]
    x, *raw = draws(0, (64, 8), *pairwise(sizes))
    gain = (np.sqrt(2) if act == "relu" else 1) * (2 if case == "weights" else 1)
    weights = [w * gain / np.sqrt(len(w)) for w in raw]
    phi, slope = PHI[act]
    states, zs = [x], []
    for w in weights[:-1]:
        zs.append(states[-1] @ w)
        states.append(phi(zs[-1]))
    back = 2 * (states[-1] @ weights[-1] - x[:, :1] - x[:, 1:2]) / (1 if case == "sum" else 64)
    of_weights, of_signal = [states[-1].T @ back], []
    for h, z, w in zip(reversed(states[:-1]), reversed(zs), reversed(weights), strict=False):
        of_signal.insert(0, np.linalg.norm(back @ w.T))
        back = (back @ w.T) * slope(z)
        of_weights.insert(0, h.T @ back)
    norms = [np.linalg.norm(g) for g in of_weights]
    metrics = measured("grad_norm_patterns", case=case, act=act)
    assert metrics["total_norm"] == pytest.approx(np.sqrt(sum(norm**2 for norm in norms)), rel=1e-3)
    assert metrics["weight_factor"] == pytest.approx((norms[1] / norms[-2]) ** (1 / 9), rel=1e-3)
    assert metrics["signal_factor"] == pytest.approx((of_signal[1] / of_signal[-1]) ** (1 / 9), rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_each_fault_has_its_own_pattern_of_norms(seed):
    """Large weights show in the signal but, with ReLU, not in p.grad; a summed loss is 64 times a mean; a large rate
    shows over time.
    """
    weights = measured("grad_norm_patterns", seed, case="weights")
    assert weights["signal_factor"] > 1.5 > weights["weight_factor"]
    assert weights["over_healthy"] > 1e4
    assert measured("grad_norm_patterns", seed, case="sum")["over_healthy"] == pytest.approx(64, rel=1e-4)
    rate = measured("grad_norm_patterns", seed, case="rate")
    assert rate["over_healthy"] == 1
    assert rate["growth"] > 100
    assert measured("grad_norm_patterns", seed, case="weights", act="tanh", factor=10.0)["weight_factor"] > 1.5
    healthy = measured("grad_norm_patterns", seed, case="healthy")
    assert healthy["growth"] == healthy["healthy_growth"] < 20
    assert 0.8 < healthy["signal_factor"] < 1.25
    assert healthy["first_nonfinite_step"] is None


def test_one_sample_four_layers_and_no_step():
    """With one sample sum and mean are equal; four matrices are the minimum for two inner layers; lr = 0 gives no
    growth.
    """
    assert measured("grad_norm_patterns", case="sum", batch=1)["over_healthy"] == pytest.approx(1)
    assert measured("grad_norm_patterns", layers=4)["signal_factor"] is not None
    assert measured("grad_norm_patterns", case="rate", lr=0.0)["growth"] == 1
