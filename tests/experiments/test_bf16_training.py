"""Tests the experiment bf16_training against the same training in numpy, in float64, with its own rounding to
bfloat16.
"""

import math

import numpy as np
import pytest
from oracles import demo, measure, measured


def to_bf16(values: np.ndarray) -> np.ndarray:
    """The number rounded to a significand of 8 bits, ties to even."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 256), exponent - 8)


def trained(seed: int, lr: float, n: int) -> tuple[float, float]:
    """The excess loss of bfloat16 weights with an unrounded copy, and of bfloat16 weights alone."""
    import torch

    torch.manual_seed(seed)
    w0 = torch.randn(32).double().numpy()
    target = w0 + torch.randn(32).double().numpy() / 10
    batches = []
    for _ in range(n):
        x = torch.randn(64, 32)
        batches.append((x.double().numpy(), torch.randn(64).double().numpy() / 10))
        torch.randint(0, 1 << 16, (32,), dtype=torch.int32)
    ends = []
    for has_copy in (True, False):
        copy, w = w0.copy(), to_bf16(w0)
        m, v = np.zeros(32), np.zeros(32)
        for k, (x, noise) in enumerate(batches):
            g = 2 * x.T @ (x @ (w - target) - noise) / 64
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
            rate = lr * math.cos(math.pi * k / n / 2) ** 2
            step = rate * m / (1 - 0.9 ** (k + 1)) / (np.sqrt(v / (1 - 0.99 ** (k + 1))) + 1e-8)
            copy = (copy if has_copy else w) - step
            w = to_bf16(copy)
        ends.append(float(((w - target) ** 2).sum()))
    return ends[0], ends[1]


@pytest.mark.parametrize(("lr", "n"), [(1e-3, 300), (1e-2, 100)])
def test_master_and_nearest_by_numpy(lr, n):
    """Losses agree up to the rounding of float32, which can move a weight to its neighbour."""
    master, nearest = trained(0, lr, n)
    metrics = measured("bf16_training", lr=lr, n=n)
    assert metrics["master"] == pytest.approx(master, rel=0.05)
    assert metrics["nearest"] == pytest.approx(nearest, rel=0.05)


def test_updates_far_below_half_a_gap_are_all_lost():
    """No weight moves, except those so small that the gap between their neighbours is far smaller."""
    metrics = measured("bf16_training", lr=1e-7, n=50)
    assert metrics["nearest"] == metrics["start"]
    assert metrics["swallowed"] == 1


def test_rounding_at_random_is_right_on_average():
    """The result is one of the two neighbours, and the mean of many the number itself."""
    import torch

    torch.manual_seed(0)
    rounded = demo("bf16_training").rounded_at_random(torch.full((200000,), 1.002)).double()
    assert set(rounded.tolist()) == {1.0, 1.0078125}
    assert rounded.mean().item() == pytest.approx(1.002, abs=5e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_kept_trains(seed):
    """A second number per weight, or stochastic rounding, does nearly as well as a float32 copy; rounding to nearest
    hardly trains.
    """
    rows, metrics = measure("bf16_training", seed)
    assert metrics["nearest"] > 0.5 * metrics["start"]
    for way in ("master", "kahan", "stochastic"):
        assert metrics[way] < 0.1 * metrics["start"], way
    assert rows[-1]["swallowed"] == 1
