"""Tests the experiment dropout_moments against reference values computed by independent code."""

import math

import pytest
from oracles import measured


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("inverted", [True, False])
def test_dropout_moments_theory(p, inverted):
    """Moments lie within five standard errors, computed from E x⁴ = 3/2 and E x² = ½ of relu(Z)."""
    n = 100000
    metrics = measured("dropout_moments", p=p, inverted=inverted)
    factor = 1 / (1 - p) if inverted else 1.0
    assert metrics["theory_second_ratio"] == pytest.approx(factor**2 * (1 - p))
    spread = math.sqrt((factor**4 * (1 - p) * 1.5 - (factor**2 * (1 - p) / 2) ** 2) / n) / 0.5
    assert metrics["second_ratio"] == pytest.approx(factor**2 * (1 - p), abs=5 * spread)
    assert metrics["mean_ratio"] == pytest.approx(factor * (1 - p), abs=0.03)
    assert metrics["train_over_eval"] == pytest.approx((factor**2 * (1 - p)) ** 5, rel=0.2)


def test_dropout_moments_agree_with_torch():
    """torch.nn.Dropout in train mode has the same moments."""
    import torch

    torch.manual_seed(1)
    x = torch.randn(100000).relu()
    y = torch.nn.Dropout(0.5)(x)
    metrics = measured("dropout_moments")
    assert float(y.pow(2).mean() / x.pow(2).mean()) == pytest.approx(metrics["second_ratio"], rel=0.05)
    assert float(y.mean() / x.mean()) == pytest.approx(metrics["mean_ratio"], rel=0.05)


def test_dropout_moments_edges():
    """No dropout changes nothing; p = 0.99 multiplies by 100."""
    nothing = measured("dropout_moments", p=0.0)
    assert nothing["mean_shift"] == 0
    assert nothing["second_ratio"] == nothing["train_over_eval"] == 1
    assert measured("dropout_moments", p=0.99)["theory_second_ratio"] == pytest.approx(100)
