"""Tests the experiment zero_gradient against a backward pass in numpy, and that each cause shows its own symptoms."""

import math

import numpy as np
import pytest
import torch
from oracles import measure


def by_hand(seed, temperature, weight=1.0):
    """The loss and its gradient's norm at the start, with the chain rule written out in float64."""
    torch.manual_seed(seed)
    items = torch.randn(16, 32)
    views = [(items + 0.1 * torch.randn_like(items)).double().numpy() for _ in range(2)]
    layers = [
        ((torch.randn(64, 32) / 32**0.5).double().numpy(), (torch.randn(32, 64) / 64**0.5).double().numpy())
        for _ in range(2)
    ]
    hidden = [np.maximum(x @ first.T, 0) for x, (first, _) in zip(views, layers, strict=True)]
    out = [h @ second.T for h, (_, second) in zip(hidden, layers, strict=True)]
    size = [np.linalg.norm(o, axis=1, keepdims=True) for o in out]
    unit = [o / s for o, s in zip(out, size, strict=True)]
    logits = unit[0] @ unit[1].T / temperature
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = -np.log(np.diag(p)).mean()
    to_cosines = weight * (p - np.eye(16)) / 16 / temperature
    total = 0.0
    for side, to_unit in enumerate((to_cosines @ unit[1], to_cosines.T @ unit[0])):
        u = unit[side]
        to_out = (to_unit - u * (u * to_unit).sum(1, keepdims=True)) / size[side]
        to_hidden = to_out @ layers[side][1] * (hidden[side] > 0)
        for part in (to_out.T @ hidden[side], to_hidden.sum(0), to_hidden.T @ views[side]):
            total += (part**2).sum()
    return loss, math.sqrt(total)


@pytest.mark.parametrize(("cause", "weight"), [("saturated", 1.0), ("underflow", 1e-8)])
@pytest.mark.parametrize("x", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 3])
def test_first_gradient_is_that_of_the_chain_rule(seed, x, cause, weight):
    loss, norm = by_hand(seed, x, weight)
    rows, metrics = measure("zero_gradient", seed, cause=cause, x=x, n=1)
    assert metrics["loss_start"] == pytest.approx(loss, rel=1e-6)
    assert rows[0]["norm_exact"] == pytest.approx(norm, rel=1e-5)
    assert rows[0]["norm"] == (0 if cause == "underflow" else pytest.approx(norm, rel=2e-2))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dead_is_zero_in_every_format(dtype):
    """With all hidden units off nothing moves and the loss is that of guessing; a Leaky ReLU learns from the same
    weights.
    """
    rows, metrics = measure("zero_gradient", 0, cause="dead", dtype=dtype, n=60)
    assert all(row["norm"] == row["norm_exact"] == 0 for row in rows)
    assert metrics["loss_there"] == metrics["loss_end"] == pytest.approx(math.log(16), rel=1e-12)
    assert metrics["first_zero"] == 0 and metrics["zero_share"] == 1
    assert metrics["loss_cured_end"] < 0.1 and metrics["cured_zero_share"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_underflow_is_zero_in_float16_alone(seed):
    """Scaled, or in a format with more range, the same loss is learned."""
    half = measure("zero_gradient", seed, cause="underflow", n=100)[1]
    assert half["first_zero"] == 0 and half["zero_share"] == 1
    assert half["loss_end"] == half["loss_start"] > 1
    assert half["exact_there"] > 0 and half["loss_cured_end"] < 0.1
    for dtype in ("bfloat16", "float32"):
        wide = measure("zero_gradient", seed, cause="underflow", dtype=dtype, n=100)[1]
        assert wide["first_zero"] is None and wide["loss_end"] < 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_saturation_comes_after_learning(seed):
    """The loss is next to 0 by then; float64 and float32 still see the gradient, which the gap bounds."""
    rows, metrics = measure("zero_gradient", seed)
    assert rows[0]["norm"] > 0.1 and metrics["first_zero"] > 10
    assert metrics["loss_there"] < 1e-3 < metrics["loss_start"]
    assert 0 < metrics["exact_there"] < 1e-3
    assert metrics["loss_there"] < 15 * math.exp(-metrics["gap_there"]), "at most fifteen wrong ones, each e^-gap"
    assert metrics["cured_zero_share"] == 0
    assert measure("zero_gradient", seed, dtype="float32")[1]["first_zero"] is None
