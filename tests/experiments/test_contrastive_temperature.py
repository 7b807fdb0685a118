"""Tests the experiment contrastive_temperature against the gradient of InfoNCE written by hand in numpy."""

import math

import numpy as np
import pytest
from oracles import INF, draws, measure, measured


def by_hand(seed: int, tau: float, cosine: float) -> tuple[float, float]:
    """The loss, and its gradient's norm: that of (I − û ûᵀ)/|u| applied to Σ (p − 1)·v/(τ·n)."""
    u, w = draws(seed, (64, 64), (64, 64))
    size = np.linalg.norm(u, axis=1, keepdims=True)
    unit = u / size
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    v = cosine * unit + math.sqrt(1 - cosine**2) * w
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    z = unit @ v.T / tau
    z -= z.max(1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    slope = (p - np.eye(64)) @ v / (64 * tau)
    slope = (slope - (slope * unit).sum(1, keepdims=True) * unit) / size
    return -np.log(np.diagonal(p)).mean(), float(np.linalg.norm(slope))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("tau", "cosine"), [(0.01, 0.1), (0.07, 0.5), (1.0, 0.9)])
def test_loss_and_gradient(seed, tau, cosine):
    rows, metrics = measure("contrastive_temperature", seed, x=tau, cosine=cosine, steps=1)
    loss, gradient = by_hand(seed, tau, cosine)
    assert metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["gradient"] == pytest.approx(gradient, rel=1e-4)
    assert metrics["gradient_ratio"] == pytest.approx(gradient / by_hand(seed, 1.0, cosine)[1], rel=1e-4)
    assert rows[-1]["gradient"] == pytest.approx(gradient, rel=1e-4)


def test_the_naive_loss_overflows_where_exp_does():
    """A pair of cosine 0.9 at temperature 0.01 has a logit of 90, beyond 88.7; at 0.02 it does not overflow."""
    bad = measured("contrastive_temperature", cosine=0.9)
    assert not math.isfinite(bad["naive_loss"])
    assert bad["fused_loss"] == pytest.approx(0, abs=1e-4)
    good = measured("contrastive_temperature", cosine=0.9, x=0.02)
    assert good["naive_loss"] == pytest.approx(good["fused_loss"], abs=1e-5)


def test_bfloat16_steps():
    """Rounding is at most half a unit in the last place of a logit of up to 128."""
    assert measured("contrastive_temperature", cosine=0.9)["half_error"] <= 0.25


def test_a_learned_scale_stays_below_its_limit():
    """On pairs that are told apart training raises 1/τ, but not above the limit of 100."""
    metrics = measured("contrastive_temperature", cosine=1.0, lr=100.0, steps=500)
    assert 1 / 0.07 < metrics["limited_scale"] <= 100.0001
    assert metrics["free_scale"] >= metrics["limited_scale"] - 1e-6
    assert metrics["free_scale"] < INF
