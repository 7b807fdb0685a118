"""Tests the experiment half_accumulation against the reflection principle for random walks, and against the rounding of
a running sum.
"""

import math

import pytest
import torch
from oracles import INF, demo, measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("x", "n"), [(600.0, 4096), (1200.0, 2048)])
def test_twice_as_many_overflow_on_the_way(seed, x, n):
    """A random walk passes a level with twice the probability of ending beyond it, within the sampling error of 1024
    outputs.
    """
    metrics = measured("half_accumulation", seed, x=x, n=n)
    beyond = math.erfc(65520 / (x * math.sqrt(2 * n)))
    spread = math.sqrt(2 * beyond / 1024)
    assert metrics["single_inf"] == pytest.approx(beyond, abs=4 * spread)
    assert metrics["half_inf"] == pytest.approx(2 * beyond, abs=4 * spread)
    assert metrics["theory_half"] == pytest.approx(2 * beyond)


@pytest.mark.parametrize("seed", [0, 1])
def test_rounding_of_a_running_sum(seed):
    """Each addition has an error of about ulp/√12 of a partial sum of size x√k: in total about 2⁻¹¹·√(n/6), within a
    factor of 2.
    """
    for n in (256, 4096):
        metrics = measured("half_accumulation", seed, x=10.0, n=n)
        predicted = 2.0**-11 * math.sqrt(n / 6)
        assert predicted / 2 < metrics["half_err"] < 2 * predicted
        assert metrics["single_err"] < 2.0**-11
        assert metrics["half_inf"] == metrics["half_nan"] == 0


def test_one_inf_spoils_its_group():
    values = torch.randn(1024)
    values[70] = INF
    assert demo("half_accumulation").nan_after_norm(values) == 64 / 1024
    assert demo("half_accumulation").lost(values) == 1 / 1024
