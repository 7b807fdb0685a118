"""Tests the experiment eight_bit_state against exact rationals in E4M3, rounding by hand, and the range of eight
bits.
"""

import math
from fractions import Fraction

import pytest
import torch
from oracles import ALL_FORMATS, demo, measured


def test_integers_and_floats_by_hand():
    module = demo("eight_bit_state")
    values = [1.0, 0.5, 0.01, 0.0019, 1e-4]
    v = torch.tensor(values, dtype=torch.float64)
    scale = torch.ones_like(v)
    assert module.integers(v, scale).tolist() == pytest.approx([round(x * 255) / 255 for x in values])
    exact = [float(ALL_FORMATS["e4m3fn"].rounded(Fraction(x * 448))) / 448 for x in values]
    assert module.floats(v, scale).tolist() == pytest.approx(exact, rel=1e-12)
    assert module.scale_of(torch.tensor([1.0, 3.0, 2.0, 8.0]), 2).tolist() == [3, 3, 8, 8]


@pytest.mark.parametrize("seed", [0, 1])
def test_zeros_follow_from_the_range(seed):
    """Values spread over 4 orders are sorted: v becomes 0 below 1/510 of the largest, 2.7 orders of v and half as many
    of the gradient.
    """
    metrics = measured("eight_bit_state", seed, spread=4.0)
    # the largest of 4096 χ²₆₄/64 at the top is some 1.6 times the mean
    assert metrics["one_zero"] == pytest.approx(1 - (math.log10(510) - 0.2) / 2 / 4, abs=0.03)
    assert metrics["blocks_zero"] == metrics["both_zero"] == 0
    assert metrics["blocks_err"] < 0.05
    assert metrics["one_step"] > 1e5
    assert metrics["exact_step"] < 2


@pytest.mark.parametrize("seed", [0, 1])
def test_blocks_do_not_help_within_a_block(seed):
    """With 4 orders mixed in each block most values are lost; with 2 orders floats in blocks suffice and integers do
    not.
    """
    wide = measured("eight_bit_state", seed, case="mixed", spread=4.0)
    assert wide["blocks_zero"] > 0.5
    narrow = measured("eight_bit_state", seed, case="mixed", spread=2.0)
    assert narrow["both_zero"] < 0.01 < 0.1 < narrow["blocks_zero"]


def test_equal_sizes_are_harmless():
    """No average of 64 squares is as small as 1/510 of the largest."""
    metrics = measured("eight_bit_state", spread=0.0)
    assert metrics["one_zero"] == metrics["both_zero"] == 0
    assert metrics["one_step"] < 2
