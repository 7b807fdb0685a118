"""Tests the experiment scan_decay against the same recurrence in numpy and against the range of float32."""

import math

import numpy as np
import pytest
from oracles import measure, measured


def states(seed: int, rate: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact states, by a matrix of powers, and the logarithms of the decays' products."""
    import torch

    torch.manual_seed(seed)
    u = torch.randn(n).double().numpy()
    logs = np.cumsum(rate * np.log(np.maximum(torch.rand(n).double().numpy(), 1e-7)))
    return np.exp(np.minimum(logs[:, None] - logs[None, :], 0)) * np.tri(n) @ u, logs


@pytest.mark.parametrize("rate", [1e-3, 0.2])
def test_states_by_numpy(rate):
    rows, _ = measure("scan_decay", 0, rate=rate, n=200)
    expected, _ = states(0, rate, 200)
    assert [row["exact"] for row in rows] == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)
    assert [row["logs"] for row in rows] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_ratio_dies_where_float32_ends(seed):
    """Between the product that makes u/P overflow, e⁻⁸⁷, and the smallest number, e⁻¹⁰⁴."""
    metrics = measured("scan_decay", seed)
    _, logs = states(seed, 0.2, 1000)
    assert -104.5 < logs[metrics["ratio_first_bad"] - 1] < -84
    assert metrics["ratio_first_bad"] <= metrics["theory_first_bad"]
    assert math.isnan(metrics["ratio"])
    assert metrics["logs"] < 1e-4


def test_bfloat16_rounds_slow_decays_to_one():
    """exp(−0.001·e) > 1 − 2⁻⁹ for e < 1.955: with probability 1 − e^−1.955."""
    metrics = measured("scan_decay", rate=1e-3, n=1500)
    assert metrics["ones"] == pytest.approx(1 - math.exp(1000 * math.log1p(-(2.0**-9))), abs=0.03)
    assert metrics["rounded"] > 0.05
    assert metrics["rounded_log"] < 1e-3
    assert metrics["ratio_first_bad"] is None
