"""Tests the experiment mean_of_rank_means against sums in exact rationals, and against one autograd pass over all
tokens.
"""

from fractions import Fraction

import pytest
import torch
from oracles import NAN, measure, measured, same


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("ranks", "share"), [(2, 1.0), (4, 8.0), (8, 30.0)])
def test_losses_in_exact_arithmetic(seed, ranks, share):
    """Each rank's mean and the global mean are those of the same numbers as Fractions."""
    torch.manual_seed(seed)
    target = torch.randn(8).double()
    x, noise = torch.randn(600, 8).double(), torch.randn(600).double()
    _, metrics = measure("mean_of_rank_means", seed, ranks=ranks, tokens=600, share=share)
    small = int(metrics["smallest"])
    cut = [600 - small * (ranks - 1)] + [small] * (ranks - 1)
    squares, place = [], 0
    for rank, count in enumerate(cut):
        y = (x[place : place + count] @ target) * (1 if rank == 0 else -1) + noise[place : place + count]
        squares.append(sum(Fraction(value) ** 2 for value in y.tolist()))
        place += count
    assert place == 600
    assert metrics["one_device_loss"] == pytest.approx(float(sum(squares) / 600))
    assert metrics["sums_loss"] == pytest.approx(float(sum(squares) / 600))
    means = sum(s / n for s, n in zip(squares, cut, strict=True)) / ranks
    assert metrics["means_loss"] == pytest.approx(float(means))


def test_equal_ranks_agree():
    """With the same number of tokens on every rank, the mean of means is the global mean."""
    metrics = measured("mean_of_rank_means", ranks=4, tokens=1024, share=1.0)
    assert metrics["smallest"] == 256
    assert metrics["means_err"] < 1e-12
    assert metrics["sums_err"] < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unequal_and_empty_ranks(seed):
    """Means of means give a wrong gradient, and nan with an empty rank; a guard makes the loss too small; sums stay
    right.
    """
    _, uneven = measure("mean_of_rank_means", seed, share=8.0)
    assert uneven["means_err"] > 0.3
    assert uneven["sums_err"] < 1e-12
    _, empty = measure("mean_of_rank_means", seed, share=1.0, empty=1)
    assert same(empty["means_loss"], NAN)
    assert same(empty["means_err"], NAN)
    assert empty["guarded_loss"] < 0.8 * empty["one_device_loss"]
    assert empty["sums_err"] < 1e-12
    assert empty["weight_ratio"] is None
