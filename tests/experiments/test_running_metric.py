"""Tests the experiment running_metric against exact rational sums, rounded after each addition."""

import math
from fractions import Fraction

import pytest
from oracles import FORMATS, add_exactly, measure, measured


def drawn(seed: int, x: float, accuracy: float, batch: int, n: int) -> tuple[list[float], list[float]]:
    """The losses and the numbers of correct answers, as the experiment draws them."""
    import torch

    torch.manual_seed(seed)
    noise = torch.randn(n)
    losses = x * (1 + torch.exp(-5 * torch.arange(1, n + 1) / n)) * (1 + noise / 10)
    return losses.tolist(), torch.binomial(torch.full((n,), float(batch)), torch.full((n,), accuracy)).tolist()


def added(dtype: str, terms: list[float]) -> Fraction:
    form, total = FORMATS[dtype], Fraction(0)
    for term in terms:
        total = form.rounded(total + form.rounded(Fraction(term)))
    return total


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("n", [10, 700])
def test_sums_by_rational_numbers(dtype, n):
    losses, correct = drawn(0, 0.3, 0.8, 32, n)
    metrics = measured("running_metric", dtype=dtype, n=n)
    count, _ = add_exactly(dtype, 32, n)
    assert metrics["mean_of_sum"] == pytest.approx(float(added(dtype, losses)) / n, rel=1e-12)
    assert metrics["ratio"] == pytest.approx(float(added(dtype, correct) / count), rel=1e-12)
    assert metrics["count"] == count
    assert metrics["true_mean"] == pytest.approx(math.fsum(losses) / n, rel=1e-12)
    assert metrics["true_accuracy"] == pytest.approx(sum(correct) / (32 * n), rel=1e-12)


def test_the_counter_stops_where_theory_says():
    """The count of correct answers then catches up with it, so that the accuracy becomes 1."""
    rows, metrics = measure("running_metric")
    assert metrics["count"] == metrics["theory_count"] == 8192
    assert metrics["ratio"] == 1
    assert metrics["true_accuracy"] == pytest.approx(0.8, abs=0.01)
    assert rows[-1]["mean_of_sum"] < 0.3 * rows[-1]["true"]


def test_float32_counts_as_python_does():
    metrics = measured("running_metric", dtype="float32")
    assert (metrics["ratio_error"], metrics["sum_stalls_after"]) == (0, None)
    assert max(metrics["sum_rel_err"], metrics["incremental_rel_err"]) < 1e-5
