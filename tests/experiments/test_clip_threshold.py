"""Tests the experiment clip_threshold against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import measured


def by_numpy(n, lr, batch, spike, quantile):
    """The losses of the runs on the same batches in numpy, with the gradient XᵀX w − Xᵀy of least squares."""
    import torch

    torch.manual_seed(0)
    kind = {"dtype": torch.float64}
    true = torch.randn(20, **kind).numpy()
    moments = []
    for step in range(n):
        x = torch.randn(batch, 20, **kind).numpy()
        y = x @ true + 0.1 * torch.randn(batch, **kind).numpy()
        size = spike**2 if step % 50 == 25 else 1
        moments.append((size * x.T @ x * 2 / batch, size * x.T @ y * 2 / batch))

    def train(clip):
        w, norms = np.zeros(20), []
        for a, b in moments:
            g = a @ w - b
            norms.append(np.linalg.norm(g))
            w = w - lr * g * min(1, clip / norms[-1])
        return np.linalg.norm(w - true) / np.linalg.norm(true), norms

    none, norms = train(np.inf)
    threshold = np.quantile(norms[:20], quantile)
    median = np.sort(norms[:20])[9]  # torch's median of an even number is the lower of the two
    return {"error_none": none, "threshold": threshold, "error_chosen": train(threshold)[0], "norm_median": median,
            "error_high": train(1000 * median)[0], "error_low": train(median / 1000)[0]}  # fmt: skip


@pytest.mark.parametrize("params", [{}, {"n": 60, "lr": 0.02, "batch": 4, "spike": 10.0, "quantile": 0.5}])
def test_clip_threshold_against_numpy(params):
    """All four runs agree with numpy."""
    setting = {"n": 300, "lr": 0.05, "batch": 32, "spike": 100.0, "quantile": 0.9} | params
    metrics = measured("clip_threshold", **params)
    for name, value in by_numpy(**setting).items():
        assert metrics[name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("seed", range(3))
def test_clip_threshold_claims(seed):
    """The right threshold rescues training, a high one lets it fail, a low one hardly moves; good batches need no
    clipping.
    """
    metrics = measured("clip_threshold", seed)
    assert metrics["error_chosen"] < 0.05
    assert metrics["error_none"] > 100
    assert metrics["error_high"] > 1
    assert metrics["error_low"] > 0.9
    assert metrics["clipped_share"] < 0.1
    assert measured("clip_threshold", seed, spike=1.0)["error_none"] < 0.05
