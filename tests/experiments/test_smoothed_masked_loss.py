"""Tests the experiment smoothed_masked_loss against the definition of label smoothing in numpy."""

import numpy as np
import pytest
from oracles import INF, measure, measured


def drawn(seed: int, masked: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 100 samples and 100 classes in float64, and their targets, as the experiment draws them."""
    import torch

    torch.manual_seed(seed)
    logits = torch.randn(100, 100).double().numpy()
    return logits, torch.randint(100 - masked, (100,)).numpy()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothing_over_the_allowed_classes(seed, smoothing):
    logits, y = drawn(seed, 10)
    free = logits[:, :90]
    log_p = free - np.log(np.exp(free).sum(1, keepdims=True))
    hard = -log_p[np.arange(100), y]
    expected = ((1 - smoothing) * hard + smoothing * -log_p.mean(1)).mean()
    metrics = measured("smoothed_masked_loss", seed, smoothing=smoothing)
    assert metrics["loss_allowed"] == pytest.approx(expected, rel=1e-5)
    assert metrics["loss_hard"] == pytest.approx(hard.mean(), rel=1e-5)
    assert metrics["loss_inf"] == (INF if smoothing else pytest.approx(hard.mean(), rel=1e-5))
    assert (metrics["bad_inf"], metrics["bad_allowed"]) == (0, 0)


@pytest.mark.parametrize("fill", [-100.0, -1e4, -1e9])
def test_the_fill_enters_the_loss(fill):
    """ε·masked/K·|fill| on top of the rest, and a derivative of −ε/K at each masked class."""
    metrics = measured("smoothed_masked_loss", fill=fill)
    assert metrics["theory_filled"] == pytest.approx(0.01 * abs(fill), rel=0.06)
    rest = 0.9 * metrics["loss_hard"] + 0.1 * 0.9 * metrics["loss_allowed"]
    assert metrics["loss_filled"] == pytest.approx(metrics["theory_filled"] + rest, rel=0.05)
    assert metrics["pull"] == pytest.approx(-0.001, rel=1e-3)


def test_nothing_masked():
    rows, metrics = measure("smoothed_masked_loss", masked=0)
    assert metrics["loss_inf"] == pytest.approx(metrics["loss_allowed"], rel=1e-5)
    assert all(row["inf"] == pytest.approx(row["filled"]) for row in rows)
