"""Tests the experiment dpo_loss against math.log1p, and margins rounded exactly to bfloat16."""

import math
from fractions import Fraction

import numpy as np
import pytest
from oracles import FORMATS, INF, NAN, measure, measured, same


@pytest.mark.parametrize("x", [-300.0, -5.0, 0.0, 1.0, 40.0])
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_the_fused_loss(x, beta):
    """The loss is ln(1 + e^(−βm)) with derivative β/(1 + e^(βm)), and ln 2 where policy and reference are equal."""
    metrics = measured("dpo_loss", x=x, beta=beta)
    z = beta * x
    expected = math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z)) - z
    assert metrics["loss_fused"] == pytest.approx(expected, rel=1e-4)
    assert metrics["theory_loss"] == pytest.approx(expected)
    assert metrics["gradient_fused"] == pytest.approx(beta / (1 + math.exp(min(z, 700))), rel=1e-4)
    assert metrics["at_start"] == pytest.approx(math.log(2))


def test_log_of_sigmoid_underflows():
    """σ(−120) = 7.7e-53 rounds to 0 in float32, so its logarithm is −inf."""
    assert float(np.float32(1 / (1 + math.exp(120)))) == 0
    metrics = measured("dpo_loss", x=-1200.0)
    assert metrics["loss_naive"] == INF
    assert same(metrics["gradient_naive"], NAN)
    assert metrics["loss_fused"] == pytest.approx(120, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_margins_of_bf16_sums(seed):
    """Every stored sum is rounded as exact arithmetic says, which gives the error and the wrong signs."""
    import torch

    torch.manual_seed(seed)
    reference = -2 * torch.randn(2, 20, 300).abs()
    spread = torch.rand(2, 20, 300) + 0.1
    shift = spread / spread.sum(-1, keepdim=True) * torch.tensor([0.5, -0.5]).view(2, 1, 1)
    sums = [(reference + shift).sum(-1).tolist(), reference.sum(-1).tolist()]
    stored = [[[FORMATS["bfloat16"].rounded(Fraction(v)) for v in row] for row in block] for block in sums]
    differences = [
        [FORMATS["bfloat16"].rounded(p - r) for p, r in zip(*rows, strict=True)] for rows in zip(*stored, strict=True)
    ]
    margins = [float(FORMATS["bfloat16"].rounded(c - r)) for c, r in zip(*differences, strict=True)]
    metrics = measured("dpo_loss", seed, n=20)
    assert metrics["wrong"] == np.mean([m <= 0 for m in margins])
    assert metrics["margin_error"] == pytest.approx(np.sqrt(np.mean([(m - 1) ** 2 for m in margins])))
    assert metrics["margin_error_fused"] < 1e-4


def test_rows_are_pairs():
    rows, metrics = measure("dpo_loss", n=30)
    assert len(rows) == 30
    assert np.mean([row["fused"] for row in rows]) == pytest.approx(metrics["loss_fused"])
