"""Tests the experiment sequence_ratio against sums of normal numbers drawn here, the lognormal distribution, and bounds
on rounding.
"""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_multiplies_as_drawn(seed):
    """The weights are exponentials of sums of the drawn numbers."""
    (noise,) = draws(seed, (64 * 500,), double=True)
    d = 0.02 * noise.reshape(64, 500)
    sums = d.sum(1)
    metrics = measured("sequence_ratio", seed, source="noise", x=0.02, n=500)
    assert metrics["token_std"] == pytest.approx(np.sqrt((d**2).mean()))
    assert metrics["sequence_std"] == pytest.approx(np.sqrt((sums**2).mean()))
    assert metrics["sequence_outside"] == pytest.approx((abs(np.exp(sums) - 1) > 0.2).mean())
    weights = np.exp(sums)
    assert metrics["ess"] == pytest.approx(weights.sum() ** 2 / (64 * (weights**2).sum()))
    assert metrics["mean_outside"] == 0


def test_lognormal_spread():
    """The standard deviation √n·x, and the effective fraction exp(−n·x²) of a lognormal weight."""
    metrics = measured("sequence_ratio", source="noise", x=0.02, n=400, sequences=250)
    assert metrics["sequence_std"] == pytest.approx(0.4, rel=0.15)
    assert metrics["ess"] == pytest.approx(math.exp(-0.16), rel=0.1)


def test_an_offset_grows_with_n():
    """All the same: the weight is e^(x·n), and the sample stays balanced."""
    rows, metrics = measure("sequence_ratio", source="offset", x=0.01, n=300)
    assert metrics["largest_weight"] == pytest.approx(math.exp(3))
    assert metrics["ess"] == pytest.approx(1)
    assert all(row["measured"] == pytest.approx(0.01 * row["token"]) for row in rows)


@pytest.mark.parametrize(("source", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_rounded_logits_differ_by_less_than_two_units(source, bits):
    """Rounding moves a logit below 32 by at most 2⁴⁻ᵖ, a log-probability by at most twice that."""
    metrics = measured("sequence_ratio", source=source, n=200)
    assert 0 < metrics["token_std"] < 2 * 2.0 ** (4 - bits)
    assert metrics["token_outside"] == 0
    assert metrics["growth"] == pytest.approx(metrics["theory_growth"], rel=0.5)


def test_float16_is_eight_times_closer():
    ratio = measured("sequence_ratio")["token_std"] / measured("sequence_ratio", source="float16")["token_std"]
    assert ratio == pytest.approx(8, rel=0.2)
