"""Tests the experiment logit_drift: its gradients against autograd, its Adam against torch's, the shift that
cross-entropy leaves alone.
"""

import math

import pytest
from oracles import demo, measure, measured


def test_gradients_are_those_of_autograd():
    import torch

    torch.manual_seed(0)
    weights = (torch.randn(4, 257, dtype=torch.float64) * 3).requires_grad_()
    y = torch.rand(256, dtype=torch.float64)
    y = y / y.sum()
    out = demo("logit_drift").logits(weights, 5.0)
    losses = -(y * out.log_softmax(1)).sum(1)
    losses[1] = losses[1] + 0.01 * out[1].logsumexp(0) ** 2
    (expected,) = torch.autograd.grad(losses.sum(), weights)
    found = demo("logit_drift").gradients(weights.detach(), y, 0.01, 5.0, rounded=False)
    assert torch.allclose(found, expected, atol=1e-12)


def test_the_shift_has_no_force_without_rounding():
    """At the start log Z is `start` + ln 256, and neither descent nor Adam moves the shift common to all logits."""
    rows, metrics = measure("logit_drift", rounded=False, n=10)
    assert rows[0]["sgd"] == pytest.approx(30 + math.log(256), abs=0.01)
    assert metrics["moved_plain"] < 1e-6
    assert metrics["moved_sgd"] < 1e-12


@pytest.mark.parametrize("start", [30.0, 100.0])
def test_a_cap_scales_the_first_gradient(start):
    """The gradient is multiplied by 1 − tanh²(start/cap), also in the common direction."""
    metrics = measured("logit_drift", start=start, n=10)
    assert metrics["gradient_capped"] == pytest.approx(1 - math.tanh(start / 30) ** 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_all_learn_the_distribution(seed):
    """Losses end within 0.1 of the targets' entropy; z-loss moves the shift by at most lr a step and returns it."""
    metrics = measured("logit_drift", seed)
    entropy = -sum(p * math.log(p) for p in [1 / k / sum(1 / j for j in range(1, 257)) for k in range(1, 257)])
    assert metrics["theory_best"] == pytest.approx(entropy)
    for way in ("plain", "zloss", "capped"):
        assert entropy - 1e-9 <= metrics[f"loss_{way}"] < entropy + 0.1
    assert abs(metrics["logz_zloss"]) < 5 < 25 < metrics["logz_plain"]
