"""Tests the experiment dead_relu against numpy and a numerical integral of mpmath."""

import math

import mpmath
import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize(("act", "bias"), [("relu", -3.0), ("relu", -2.0), ("leaky", -3.0), ("relu", -5.0)])
def test_dead_relu_by_hand(act, bias):
    """Dead units, and columns of the gradient that are 0, are the same in a backward pass written by hand."""
    width, batch = 32, 40
    x, *raw, read_out = draws(0, (batch, width), *[(width, width)] * 3, (width, 1))
    low = 0.01 if act == "leaky" else 0.0
    h, pre, weights = x, [], [w * math.sqrt(2 / width) for w in raw]
    for i, w in enumerate(weights):
        pre.append(h @ w + (bias if i == 0 else 0))
        h = np.where(pre[-1] > 0, pre[-1], low * pre[-1])
    back = np.tile(read_out.T, (batch, 1))
    for i in (2, 1, 0):
        back = back * np.where(pre[i] > 0, 1, low)
        back = back @ weights[i].T if i else back
    metrics = measured("dead_relu", width=width, batch=batch, bias=bias, act=act)
    assert metrics["dead_share"] == (pre[0] <= 0).all(0).mean()
    assert metrics["dead_share_last"] == (pre[2] <= 0).all(0).mean()
    assert metrics["on_share"] == pytest.approx((pre[0] > 0).mean(), abs=1e-9)
    assert metrics["zero_gradient_share"] == (np.abs(x.T @ back).max(0) == 0).mean()


@pytest.mark.parametrize(("bias", "width", "batch"), [(-3, 256, 256), (-2, 16, 8), (-1, 1, 2), (0.5, 64, 1)])
def test_dead_relu_theory(bias, width, batch):
    """The share is E[Φ(−b/‖w‖)^batch] with a Gamma-distributed ‖w‖²: 0.0192 at the defaults, instead of 0.0126 for a
    fixed norm.
    """

    def mean(f):
        n = mpmath.mpf(width)
        density = lambda s: s ** (n / 2 - 1) * mpmath.exp(-s / 2) / (2 ** (n / 2) * mpmath.gamma(n / 2))  # noqa: E731
        middle, spread = width, 12 * math.sqrt(2 * width)
        points = [1e-12, 0.01, 1, 10, 100] if width == 1 else [max(1e-9, middle - spread), middle, middle + spread]
        return mpmath.quad(lambda s: density(s) * f(mpmath.ncdf(-bias / mpmath.sqrt(2 * s / n))), points)

    metrics = measured("dead_relu", bias=float(bias), width=width, batch=batch)
    rel = 0.02 if width == 1 else 1e-4  # χ₁² has a singular density
    assert metrics["theory_on"] == pytest.approx(float(mean(lambda off: 1 - off)), rel=rel)
    assert metrics["theory_dead"] == pytest.approx(float(mean(lambda off: off**batch)), rel=rel)
    one = float(mpmath.ncdf(-bias / mpmath.sqrt(2)) ** batch)
    assert metrics["theory_dead_one_norm"] == pytest.approx(one, rel=1e-12)
    if (bias, width) == (-3, 256):
        assert metrics["theory_dead"] == pytest.approx(0.0193, abs=2e-4)
        assert metrics["theory_dead_one_norm"] == pytest.approx(0.01258, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_dead_relu_claims_and_controls(seed):
    """With a bias of −3 some units die and get no gradient; with −1, 0 or a leaky slope none do."""
    metrics = measured("dead_relu", seed)
    assert metrics["zero_gradient_share"] == metrics["dead_share"] > 0
    for bias in (-1.0, 0.0):
        assert measured("dead_relu", seed, bias=bias)["dead_share"] == 0
    leaky = measured("dead_relu", seed, act="leaky")
    assert leaky["zero_gradient_share"] == 0
    assert leaky["dead_share"] == metrics["dead_share"]


def test_dead_relu_edges():
    """With a bias of −10 all units are off and cannot learn; with +10 all are on and the layer is linear; one layer and
    one unit run.
    """
    gone = measured("dead_relu", bias=-10.0)
    assert gone["dead_share"] == gone["zero_gradient_share"] == 1
    assert gone["output_std"] == 0
    assert measured("dead_relu", bias=10.0)["on_share"] == 1
    assert measured("dead_relu", layers=1)["dead_share"] == measured("dead_relu")["dead_share"]
    assert measured("dead_relu", width=1, batch=1)["dead_share"] in (0, 1)
