"""Tests the experiment router_precision against exact rounding with fractions, and the choice of experts by numpy."""

from fractions import Fraction

import numpy as np
import pytest
from oracles import FORMATS, draws, measure, measured


def best_two(logits: np.ndarray) -> list[set[int]]:
    """The two experts of each token; numpy's stable sort keeps the lower index first among equals."""
    return [set(row[:2].tolist()) for row in np.argsort(-logits, axis=1, kind="stable")]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("shift", [0.0, 16.0, 64.0])
def test_flips_are_those_of_exactly_rounded_logits(dtype, shift):
    import torch

    (z,) = draws(0, (120, 16))
    sums = (torch.tensor(z).float() + shift).double().numpy()
    rounded = np.array([[float(FORMATS[dtype].rounded(Fraction(value))) for value in row] for row in sums.tolist()])
    changed = [a != b for a, b in zip(best_two(rounded), best_two(z), strict=True)]
    metrics = measured("router_precision", dtype=dtype, shift=shift, experts=16, n=120)
    assert metrics["flips"] == pytest.approx(np.mean(changed))
    top = -np.sort(-rounded, axis=1)
    assert metrics["ties"] == pytest.approx((top[:, 1] == top[:, 2]).mean())


def test_gaps_double_with_the_shift():
    """2⁻⁷ of the power of two below it in bfloat16."""
    for shift in (64.0, 100.0, 300.0):
        gap = measured("router_precision", shift=shift)["theory_gap"]
        assert gap == 2.0 ** (np.floor(np.log2(shift)) - 7)


def test_rows_end_at_the_shift_and_begin_without_it():
    rows, metrics = measure("router_precision", shift=128.0)
    assert (rows[0]["flips"], rows[-1]["flips"]) == (metrics["flips_centred"], metrics["flips"])
    assert metrics["load"] > metrics["load_exact"]
