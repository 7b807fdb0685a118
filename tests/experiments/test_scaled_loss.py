"""Tests the experiment scaled_loss against closed forms of losses, gradients and limits."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("x", [0.5, 20.0])
def test_limits_by_closed_forms(reduction, x):
    """In float32 the largest gradient sets the limit, 2^k·2|z|/n < 65520; in float16 the scale does too, k < 16."""
    (u,) = draws(0, (256,))
    z = (np.float32(x) * u.astype(np.float32)).astype(np.float16).astype(float)
    n = 256 if reduction == "mean" else 1
    single = max(2.0**k for k in range(25) if 2.0**k * 2 * abs(z).max() / n < 65520)
    metrics = measured("scaled_loss", x=x, reduction=reduction)
    assert metrics["loss"] == pytest.approx((z**2).sum() / n, rel=1e-12)
    assert metrics["single_limit"] == single
    assert metrics["half_limit"] <= min(single, 32768)
    assert metrics["single_scaled"] == pytest.approx(65536 * metrics["loss"], rel=1e-5)


def test_the_scale_itself_is_inf():
    """From a scale of 65536 gradients are bad, although the scaled loss could be represented."""
    rows, metrics = measure("scaled_loss")
    assert {row["scale"]: row["half"] for row in rows if row["scale"] in (32768, 65536)} == {32768: 0, 65536: 1}
    assert math.isfinite(metrics["half_scaled"])
    assert (metrics["half_bad"], metrics["single_bad"], metrics["single_error"]) == (1, 0, 0)


def test_an_infinite_loss_with_good_gradients():
    """What is printed is inf; the gradient does not need the value of the loss."""
    metrics = measured("scaled_loss", x=20.0, scale=1024.0)
    assert metrics["half_scaled"] == math.inf
    assert (metrics["half_bad"], metrics["single_bad"]) == (0, 0)
