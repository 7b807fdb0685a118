"""Tests the experiment rms_or_layer_norm against torch's own norms and numpy, and 1/√(1 + x²)."""

import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("x", [0.0, 0.5, 3.0])
def test_outputs(seed, x):
    """Signals, cosine and the change by a shift, in numpy."""
    (noise,) = draws(seed, (64, 512))
    layer, root = (f(noise + x) for f in (by_layer, by_root))
    metrics = measured("rms_or_layer_norm", seed, x=x)
    assert metrics["signal_layer"] == pytest.approx(layer.std(1).mean())
    assert metrics["signal_rms"] == pytest.approx(root.std(1).mean())
    cosines = (layer * root).sum(1) / np.linalg.norm(layer, axis=1) / np.linalg.norm(root, axis=1)
    assert metrics["cosine"] == pytest.approx(cosines.mean())
    moved = np.linalg.norm(by_root(noise + x + 1) - root) / np.linalg.norm(root)
    assert metrics["shifted_rms"] == pytest.approx(moved)
    assert metrics["shifted_layer"] < 1e-12
    assert metrics["signal_rms"] == pytest.approx(metrics["theory_signal"], rel=0.02)


def by_layer(h: np.ndarray) -> np.ndarray:
    return (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-6)


def by_root(h: np.ndarray) -> np.ndarray:
    return h / np.sqrt((h**2).mean(1, keepdims=True) + 1e-6)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_the_scale_does_not_matter_and_the_mean_does(scale):
    """Gradients that pass, times the scale: 1 for LayerNorm, 1/√(1 + x²) for RMSNorm."""
    metrics = measured("rms_or_layer_norm", scale=scale, eps=1e-12)
    assert metrics["slope_layer"] == pytest.approx(1, rel=0.01)
    assert metrics["slope_rms"] == pytest.approx(metrics["theory_signal"], rel=0.02)


@pytest.mark.parametrize("eps", [1e-12, 1e-6, 1e-2])
def test_the_eps_rules_small_rows(eps):
    """√(s/(s + eps)) with s = (1 + x²)·1e-6."""
    expected = np.sqrt(10e-6 / (10e-6 + eps))
    assert measured("rms_or_layer_norm", eps=eps)["small"] == pytest.approx(expected, rel=0.02)
