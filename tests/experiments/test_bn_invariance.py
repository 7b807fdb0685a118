"""Tests the experiment bn_invariance against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import draws, measured


def by_hand(h, w, b, cotangent, norm, eps=1e-5):
    """The output y and the gradients of W and b, with the normalisation's backward pass written out."""
    z = h @ w + b
    axis = {"batch": 0, "layer": 1}.get(norm)
    if axis is None:
        y = np.maximum(z, 0)
        back = cotangent * (z > 0)
    else:
        spread = np.sqrt(z.var(axis, keepdims=True) + eps)
        s = (z - z.mean(axis, keepdims=True)) / spread
        y = np.maximum(s, 0)
        g = cotangent * (s > 0)
        back = (g - g.mean(axis, keepdims=True) - s * (g * s).mean(axis, keepdims=True)) / spread
    return y, h.T @ back, back.sum(0)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("scale", [10.0, 0.01])
def test_bn_invariance_against_numpy(norm, scale):
    """Outputs and gradients at both weight scales equal those of a backward pass written by hand."""
    h, raw, b, cotangent = draws(0, (64, 32), (32, 32), (32,), (64, 32), double=True)
    w = raw / math.sqrt(32)
    y, grad_w, grad_b = by_hand(h, w, b, cotangent, norm)
    scaled, scaled_w, _ = by_hand(h, scale * w, scale * b, cotangent, norm)
    without, _, _ = by_hand(h, w, 0 * b, cotangent, norm)
    metrics = measured("bn_invariance", norm=norm, scale=scale)
    assert metrics["output_change"] == pytest.approx(abs(scaled - y).max() / abs(y).max(), rel=1e-6, abs=1e-12)
    ratio = np.linalg.norm(grad_w) / np.linalg.norm(scaled_w)
    assert metrics["grad_ratio"] == pytest.approx(ratio, rel=1e-9)
    assert metrics["effective_rate_ratio"] == pytest.approx(ratio * scale, rel=1e-9)
    assert metrics["weight_grad"] == pytest.approx(np.linalg.norm(grad_w), rel=1e-9)
    assert metrics["bias_share"] == pytest.approx(np.linalg.norm(grad_b) / np.linalg.norm(grad_w), rel=1e-6, abs=1e-12)
    assert metrics["bias_effect"] == pytest.approx(abs(without - y).max() / abs(y).max(), rel=1e-6, abs=1e-12)
    cosine = abs((w * grad_w).sum()) / np.linalg.norm(w) / np.linalg.norm(grad_w)
    assert metrics["radial_share"] == pytest.approx(cosine, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_bn_invariance_claims(seed):
    """With W ten times larger the output is the same, the gradient a tenth, and the bias has none; none of this holds
    without BN.
    """
    metrics = measured("bn_invariance", seed)
    assert metrics["output_change"] < 1e-4
    assert metrics["grad_ratio_error"] < 1e-3
    assert metrics["bias_share"] < 1e-9
    assert metrics["bias_effect"] < 1e-9
    plain = measured("bn_invariance", seed, norm="none")
    assert plain["output_change"] == pytest.approx(9)
    assert plain["grad_ratio"] == pytest.approx(1)
    assert plain["bias_share"] > 0.05


def test_bn_invariance_is_exact_without_eps():
    """With eps = 0 the invariance holds up to rounding; with weights near √eps it is lost."""
    assert measured("bn_invariance", eps=0.0)["output_change"] < 1e-12
    assert measured("bn_invariance", eps=0.0)["radial_share"] < 1e-12
    assert measured("bn_invariance", scale=1e-3)["output_change"] > 0.3
    assert measured("bn_invariance", scale=1.0)["grad_ratio"] == 1
