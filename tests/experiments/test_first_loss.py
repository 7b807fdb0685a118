"""Tests the experiment first_loss against numpy with the same draws, and its units."""

import numpy as np
import pytest
from oracles import measured


def drawn(seed: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The targets in units of `scale`, and the untrained net's predictions."""
    import torch

    torch.manual_seed(seed)
    x = torch.randn(256, 8)
    targets = (x @ torch.randn(8, outputs) / 8**0.5 + torch.randn(256, outputs) / 10).double().numpy()
    last, first = torch.nn.Linear(32, outputs), torch.nn.Linear(8, 32)
    (w2, b2), (w1, b1) = ([p.detach().double().numpy() for p in layer.parameters()] for layer in (last, first))
    return targets, np.tanh(x.double().numpy() @ w1.T + b1) @ w2.T + b2


@pytest.mark.parametrize(("outputs", "gain", "seed"), [(100, 1.0, 0), (3, 50.0, 1)])
def test_loss_and_baseline(outputs, gain, seed):
    y, p = drawn(seed, outputs)
    metrics = measured("first_loss", seed, scale=1.0, outputs=outputs, reduction="mean", gain=gain, n=1)
    assert metrics["loss_start"] == pytest.approx(((gain * p - y) ** 2).mean(), rel=1e-4)
    assert metrics["baseline"] == pytest.approx(y.var(axis=0).mean(), rel=1e-4)
    assert metrics["ratio"] == pytest.approx(metrics["loss_start"] / metrics["baseline"], rel=1e-9)


def test_units_and_sums_leave_the_ratios():
    mean = measured("first_loss", scale=1.0, reduction="mean")
    total = measured("first_loss", scale=1000.0, reduction="sum")
    assert total["loss_start"] / mean["loss_start"] == pytest.approx(1e8, rel=1e-9)
    assert total["ratio"] == pytest.approx(mean["ratio"], rel=1e-9)
    assert total["ratio_end"] == pytest.approx(mean["ratio_end"], rel=1e-9)
    assert mean["ratio_end"] < 0.3 < mean["ratio"]
    assert total["baseline"] == pytest.approx(total["theory_baseline"], rel=0.2)
