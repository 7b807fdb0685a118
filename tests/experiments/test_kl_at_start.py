"""Tests the experiment kl_at_start against the KL of the same weights in numpy."""

import numpy as np
import pytest
from oracles import measured


def head(seed: int, largest: float, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and log-variances that the net gives for the run's inputs."""
    import torch

    torch.manual_seed(seed)
    x = torch.rand(128, pixels)
    layers = [torch.nn.Linear(pixels, 64), torch.nn.Linear(64, 16), torch.nn.Linear(64, 16)]
    (w, b), (wm, bm), (ws, bs) = ([p.detach().double().numpy() for p in layer.parameters()] for layer in layers)
    h = np.maximum(largest * x.double().numpy() @ w.T + b, 0)
    return h @ wm.T + bm, h @ ws.T + bs


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("largest", "pixels"), [(1.0, 784), (30.0, 784), (5.0, 10)])
def test_the_kl(seed, largest, pixels):
    metrics = measured("kl_at_start", seed, largest=largest, pixels=pixels)
    mu, s = head(seed, largest, pixels)
    assert metrics["raw"] == pytest.approx(0.5 * (mu**2 + np.exp(s) - 1 - s).sum(1).mean(), rel=1e-3)
    assert metrics["zero"] == pytest.approx(0.5 * (mu**2).sum(1).mean(), rel=1e-3)
    limited = 6 * np.tanh(s / 6)
    assert metrics["limited"] == pytest.approx(0.5 * (mu**2 + np.exp(limited) - 1 - limited).sum(1).mean(), rel=1e-3)
    assert metrics["spread"] == pytest.approx(s.std(ddof=1), rel=1e-3)
    assert metrics["largest_s"] == pytest.approx(s.max(), rel=1e-3)


def test_pixels_up_to_255():
    metrics = measured("kl_at_start")
    assert metrics["raw"] > 1e12
    assert metrics["unit"] < 1
    assert metrics["unit"] == measured("kl_at_start", largest=3.0)["unit"]
