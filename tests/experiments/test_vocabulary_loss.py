"""Tests the experiment vocabulary_loss against numpy in float64, and sums rounded exactly after each addition."""

from fractions import Fraction

import numpy as np
import pytest
from oracles import FORMATS, measure, measured


def drawn(seed: int, v: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits in which those of the targets are raised, and the targets."""
    import torch

    torch.manual_seed(seed)
    logits = torch.randn(n, v)
    y = torch.randint(v, (n,))
    logits[torch.arange(n), y] += 5.0
    return logits.double().numpy(), y.numpy()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_exact_loss_and_that_of_rounded_logits(seed):
    """Rounding is done with fractions, the loss by numpy."""
    logits, y = drawn(seed, 500, 4)
    rounded = np.array([[float(FORMATS["bfloat16"].rounded(Fraction(z))) for z in row] for row in logits.tolist()])
    losses = [np.log(np.exp(z).sum(1)) - z[np.arange(4), y] for z in (logits, rounded)]
    metrics = measured("vocabulary_loss", seed, v=500, n=4)
    assert metrics["exact"] == pytest.approx(losses[0].mean())
    error = losses[1] - losses[0]
    assert metrics["error_stored"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-3)
    assert metrics["bias_stored"] == pytest.approx(error.mean(), rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_sum_in_lanes(dtype):
    """Each of 64 lanes adds its numbers one by one, then lanes are added in pairs, with exact rounding at each step."""
    import torch
    from oracles import demo

    form = FORMATS[dtype]
    torch.manual_seed(0)
    terms = torch.rand(2, 64 * 20).to(getattr(torch, dtype))
    for row, found in zip(terms, demo("vocabulary_loss").low_sum(terms), strict=True):
        lanes = [Fraction(0)] * 64
        for k, term in enumerate(row.tolist()):
            lanes[k % 64] = form.rounded(lanes[k % 64] + Fraction(term))
        while len(lanes) > 1:
            lanes = [form.rounded(a + b) for a, b in zip(lanes[::2], lanes[1::2], strict=True)]
        assert found.item() == float(lanes[0])


@pytest.mark.parametrize(("batch", "zeros"), [(1, 0), (8192, 1)])
def test_float16_loses_small_gradients(batch, zeros):
    """p/batch near 1e-9 is below half of 2⁻²⁴; p near 1e-5 is not."""
    assert measured("vocabulary_loss", dtype="float16", batch=batch)["zeros"] == pytest.approx(zeros, abs=0.01)


def test_float32_and_rows():
    rows, metrics = measure("vocabulary_loss", dtype="float32", v=5000)
    assert metrics["error_float32"] < 1e-5
    assert metrics["kept"] == pytest.approx(1, abs=1e-5)
    assert np.mean([row["summed"] for row in rows]) == pytest.approx(metrics["bias_summed"], abs=1e-9)
