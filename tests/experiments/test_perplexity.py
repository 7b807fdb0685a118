"""Tests the experiment perplexity against sums with math.fsum, the largest number of each format, and Jensen's
inequality.
"""

import math

import pytest
from oracles import FORMATS, INF, measure, measured


def drawn(seed: int, x: float, spread: float, n: int) -> tuple[list[float], list[int]]:
    """Losses and tokens of the batches."""
    import torch

    torch.manual_seed(seed)
    losses = (x + spread * torch.randn(n).double()).clamp(min=0).tolist()
    return losses, torch.randint(1, 65, (n,)).tolist()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_weighted_means(seed, spread):
    losses, tokens = drawn(seed, 6.0, spread, 300)
    mean = math.fsum(a * t for a, t in zip(losses, tokens, strict=True)) / sum(tokens)
    metrics = measured("perplexity", seed, x=6.0, spread=spread, n=300)
    assert metrics["exact"] == pytest.approx(math.exp(mean))
    assert metrics["mean"] == pytest.approx(math.fsum(map(math.exp, losses)) / 300)
    assert metrics["mean_ratio"] == pytest.approx(metrics["mean"] / metrics["exact"])
    assert metrics["batches_ratio"] == pytest.approx(math.exp(math.fsum(losses) / 300 - mean))
    assert metrics["bits"] == pytest.approx(mean / math.log(2))


@pytest.mark.parametrize("dtype", FORMATS)
def test_overflow_at_the_largest_number(dtype):
    limit = math.log(FORMATS[dtype].largest)
    below, above = (measured("perplexity", dtype=dtype, x=limit + d, spread=0.0) for d in (-0.6, 0.6))
    assert below["overflow"] == pytest.approx(limit)
    assert below["stored"] < INF
    assert above["stored"] == INF


def test_rows_end_at_the_metrics():
    rows, metrics = measure("perplexity", n=40)
    assert rows[-1]["running"] == pytest.approx(metrics["exact"])
    assert rows[-1]["mean"] == pytest.approx(metrics["mean"])
