"""Tests the experiment gumbel_noise against the probability that a uniform number rounds to 1, and against numpy's
logarithms.
"""

import itertools
import math

import numpy as np
import pytest
from oracles import measure, measured

ROUNDS_TO_ONE = {"bfloat16": 2.0**-9, "float16": 2.0**-12, "float32": 0.0}
"""Half the gap below 1."""


@pytest.mark.parametrize("dtype", ROUNDS_TO_ONE)
def test_rows_go_bad_as_often_as_u_rounds_to_one(dtype):
    """Within four standard deviations of a binomial, for rows of 500 tokens."""
    metrics = measured("gumbel_noise", dtype=dtype, v=500, n=400)
    q = ROUNDS_TO_ONE[dtype]
    expected = 1 - (1 - q) ** 500
    assert metrics["theory"] == pytest.approx(expected)
    assert abs(metrics["bad_rounded"] - expected) <= 4 * math.sqrt(expected * (1 - expected) / 400)
    assert abs(metrics["ones"] - q) <= 4 * math.sqrt(q / 200_000)
    assert metrics["bad_float32"] == metrics["bad_uniform"] == 0


def test_an_eps_turns_inf_into_46_in_bfloat16_and_is_lost_in_float16():
    """−log 1e-20 = 46.05; in float16 1e-20 is 0."""
    assert -math.log(1e-20) > 40
    brain, half = measured("gumbel_noise"), measured("gumbel_noise", dtype="float16")
    assert (brain["bad_eps"], brain["decided_eps"]) == (0, brain["bad_rounded"])
    assert np.float16(1e-20) == 0
    assert half["bad_eps"] == half["bad_rounded"] > 0


def test_rows_count_up_to_the_metrics():
    rows, metrics = measure("gumbel_noise", seed=2, n=50)
    assert rows[-1]["rounded"] == pytest.approx(50 * metrics["bad_rounded"])
    assert all(a["rounded"] <= b["rounded"] for a, b in itertools.pairwise(rows))


def test_a_tiny_temperature_overflows_float16():
    """A logit of 3 over 1e-6 exceeds 65504 whatever the noise."""
    assert measured("gumbel_noise", dtype="float16", tau=1e-6)["bad_float32"] == 1
