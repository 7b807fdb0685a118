"""Tests the experiment amax_history against float8 by exact rationals, the length of the history, and the normal
distribution.
"""

import math
from fractions import Fraction

import pytest
import torch
from oracles import ALL_FORMATS, demo, measure, measured


@pytest.mark.parametrize(("form", "name"), [("e4m3", "e4m3fn"), ("e5m2", "e5m2")])
def test_scaled_rounding_by_rational_numbers(form, name):
    """The scale moves the largest entry to the upper half of the range, and each entry is rounded once."""
    module, exact = demo("amax_history"), ALL_FORMATS[name]
    values = [3.9, -0.02, 0.31, 1e-4, 57.0]
    scale = module.scale_for(57.0, module.FORMS[form])
    assert exact.largest / 2 < 57 * Fraction(scale) <= exact.largest
    stored = module.float8(torch.tensor(values, dtype=torch.float64) * scale, module.FORMS[form]).tolist()
    assert stored == [float(exact.rounded(Fraction(value) * Fraction(scale))) for value in values]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("history", [1, 4, 16, 40])
def test_as_many_steps_as_the_history_is_long(seed, history):
    metrics = measured("amax_history", seed, spike=3e6, history=history)
    assert (metrics["delayed_harmed"], metrics["last_harmed"], metrics["current_harmed"]) == (history, 1, 0)
    assert metrics["usual"] < 0.03


def test_zeros_after_the_spike():
    """The share of zeros is the probability that |N(0, 1)| lies below half the smallest number over the scale."""
    _, metrics = measure("amax_history", 0, where="entry", spike=1e6, history=16)
    scale = 2.0 ** math.floor(math.log2(448 / 1e6))
    below = math.erf(2.0**-10 / scale / math.sqrt(2))
    assert metrics["after_zero"] == pytest.approx(below, abs=0.03)


def test_a_whole_tensor_is_cut_off_and_e5m2_has_room():
    assert measured("amax_history", where="tensor", spike=64.0)["cut"] > 0.8
    assert measured("amax_history", where="tensor", spike=64.0)["delayed_harmed"] == 0
    assert measured("amax_history", form="e5m2", spike=1e6)["delayed_harmed"] == 0
