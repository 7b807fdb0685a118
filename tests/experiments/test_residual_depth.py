"""Tests the experiment residual_depth against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import (
    draws,
    measured,
    rms_norm,
)


@pytest.mark.parametrize("branch", ["pre_act", "two_layer"])
@pytest.mark.parametrize("layers", [1, 4])
def test_residual_depth_against_numpy(branch, layers):
    """Gains and gradient ratios of all six nets equal forward and backward passes in numpy for the same draws."""
    shapes = [(6, 10), *[(10, 10)] * (2 * layers), (6, 10)]
    x, *raw, cotangent = draws(0, *shapes)
    xavier, second = [w / math.sqrt(10) for w in raw[::2]], [w * math.sqrt(0.2) for w in raw[1::2]]
    scales = {"residual": 1, "scaled": layers**-0.5, "scaled_by_depth": 1 / layers, "zero_branch": 0}
    metrics = measured("residual_depth", layers=layers, width=10, batch=6, branch=branch)

    def check(kind: str, h: np.ndarray, back: np.ndarray) -> None:
        assert metrics[f"{kind}_gain"] == pytest.approx((h**2).mean() / (x**2).mean(), rel=1e-4), kind
        assert metrics[f"{kind}_grad_ratio"] == pytest.approx(rms_norm(back) / rms_norm(cotangent), rel=1e-4), kind

    for kind, factor in (("plain_xavier", 1), ("plain_kaiming", math.sqrt(2))):
        states, h = [], x
        for w in xavier:
            states.append(h @ (factor * w))
            h = np.maximum(states[-1], 0)
        back = cotangent
        for w, z in zip(reversed(xavier), reversed(states), strict=True):
            back = (back * (z > 0)) @ (factor * w).T
        check(kind, h, back)
    for kind, scale in scales.items():
        states, h = [], x
        for w, v in zip(xavier, second, strict=True):
            states.append(h)
            two = np.maximum(h @ w, 0) @ v
            h = h + scale * (np.maximum(h, 0) @ (math.sqrt(2) * w) if branch == "pre_act" else two)
        back = cotangent
        for w, v, h_in in zip(reversed(xavier), reversed(second), reversed(states), strict=True):
            pre = (back @ (math.sqrt(2) * w).T) * (h_in > 0)
            through = pre if branch == "pre_act" else ((back @ v.T) * (h_in @ w > 0)) @ w.T
            back = back + scale * through
        check(kind, h, back)


@pytest.mark.parametrize("layers", [1, 20, 100, 500])
def test_residual_depth_theory(layers):
    """The expected gains of the six nets are 2^−L, 1, 2^L, (1+1/L)^L → e, (1+1/L²)^L and 1."""
    metrics = measured("residual_depth", layers=layers, width=2, batch=2)
    one = mpmath.mpf(1)
    expected = {"plain_xavier": one / 2**layers, "plain_kaiming": one, "residual": one * 2**layers, "zero_branch": one,
                "scaled": (1 + one / layers) ** layers, "scaled_by_depth": (1 + one / layers**2) ** layers}  # fmt: skip
    for kind, gain in expected.items():
        assert metrics[f"theory_{kind}_gain"] == pytest.approx(float(gain), rel=1e-12), kind
    assert metrics["zero_branch_gain"] == metrics["zero_branch_grad_ratio"] == 1


def test_residual_depth_gains_have_their_expectation():
    """The mean over seeds of a shallow net's gain is its expectation: 2^L unscaled, 1 for He, 2^−L for Xavier."""
    runs = [measured("residual_depth", seed, layers=2, width=128) for seed in range(12)]
    for kind, gain in (("residual", 4), ("scaled", 2.25), ("plain_kaiming", 1), ("plain_xavier", 0.25)):
        assert np.mean([run[f"{kind}_gain"] for run in runs]) == pytest.approx(gain, rel=0.08), kind


def test_residual_depth_claims_and_edges():
    """Unscaled explodes, 1/√L stays; deep narrow nets overflow in float32 or die, and say inf, nan or 0."""
    metrics = measured("residual_depth")
    assert metrics["residual_gain"] > 1e3
    assert metrics["residual_grad_ratio"] > 1e3
    assert metrics["plain_xavier_grad_ratio"] < 1e-3
    assert 0.5 < metrics["scaled_gain"] < 20
    deep = measured("residual_depth", layers=500, width=32)
    assert not math.isfinite(deep["residual_gain"])
    assert not math.isfinite(deep["residual_grad_ratio"])
    assert deep["plain_xavier_gain"] == 0
    assert deep["plain_kaiming_gain"] < 1e-10
    assert 1 < deep["scaled_gain"] < 8
    narrow = measured("residual_depth", width=1)
    assert narrow["plain_xavier_gain"] == narrow["plain_kaiming_gain"] == narrow["plain_kaiming_grad_ratio"] == 0
