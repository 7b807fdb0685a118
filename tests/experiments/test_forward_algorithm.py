"""Tests the experiment forward_algorithm against the sum over all paths, for short sequences, and matrix products in
exact powers of two.
"""

import itertools
import math

import numpy as np
import pytest
from oracles import INF, draws, measure, measured


def parameters(seed: int, n: int, states: int, emission: float) -> tuple[np.ndarray, np.ndarray]:
    a, p = draws(seed, (states, states), (n, states))
    return np.exp(a) / np.exp(a).sum(1, keepdims=True), np.exp(p - emission)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("n", "states"), [(2, 2), (5, 3), (4, 4)])
def test_all_paths(seed, n, states):
    a, p = parameters(seed, n, states, 3.0)
    total = 0.0
    for path in itertools.product(range(states), repeat=n):
        steps = math.prod(a[i, j] for i, j in itertools.pairwise(path))
        total += steps * math.prod(p[t, s] for t, s in enumerate(path)) / states
    metrics = measured("forward_algorithm", seed, n=n, states=states)
    for name in ("plain", "logs", "exact"):
        assert metrics[name] == pytest.approx(math.log(total), rel=1e-5)


def test_long_sequences():
    """The reference products are scaled by powers of two, which causes no rounding."""
    a, p = parameters(0, 100, 8, 3.0)
    alpha, exponent = np.full(8, 1 / 8) * p[0], 0
    for score in p[1:]:
        alpha, shift = (alpha @ a) * score * 2.0**8, 8
        exponent -= shift
    rows, metrics = measure("forward_algorithm")
    assert metrics["exact"] == pytest.approx(math.log(alpha.sum()) + exponent * math.log(2), rel=1e-9)
    assert max(metrics["logs_error"], metrics["scaled_error"]) < 1e-5
    assert metrics["plain"] == -INF
    assert 10 < metrics["zero_step"] < 60
    assert (metrics["bad"], metrics["sums"] < 1e-4) == (1, True)
    assert rows[-1]["plain"] == -INF


def test_likely_emissions_do_not_underflow():
    assert measured("forward_algorithm", emission=0.0, n=20)["zero_step"] is None
