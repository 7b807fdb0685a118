"""Tests the experiment loss_surface against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import (
    demo,
    draws,
    measured,
)

from qa_service.errors import BadParameter


def test_loss_surface_describes_known_surfaces():
    """The share of non-convex cells is that of numpy's eigenvalues: 0 for a bowl and 1 for a saddle."""
    import torch

    describe = demo("loss_surface").describe
    axis = np.linspace(-1, 1, 9)
    x, y = np.meshgrid(axis, axis)
    rng = np.random.default_rng(0)
    for surface, share in ((x**2 + 3 * y**2 + x * y, 0), (x**2 - y**2, 1), (x * y, 1), (rng.normal(size=(9, 9)), None)):
        found = describe(torch.tensor(surface), float(surface[4, 4]))
        lowest = []
        for i in range(1, 8):
            for j in range(1, 8):
                a = surface[i + 1, j] - 2 * surface[i, j] + surface[i - 1, j]
                c = surface[i, j + 1] - 2 * surface[i, j] + surface[i, j - 1]
                b = (surface[i + 1, j + 1] - surface[i + 1, j - 1] - surface[i - 1, j + 1] + surface[i - 1, j - 1]) / 4
                lowest.append(np.linalg.eigvalsh([[a, b], [b, c]])[0])
        assert found["frac_nonconvex"] == pytest.approx(np.mean(np.array(lowest) < 0))
        assert share is None or found["frac_nonconvex"] == share
        assert found["max_loss"] == surface.max()
        assert found["basin_share"] == pytest.approx((surface <= surface[4, 4] + 0.1).mean())


def test_loss_surface_centre_is_the_trained_loss():
    """Without training the loss at the centre is the cross-entropy of the drawn nets in numpy."""
    x, *blocks, first, last = draws(0, (64, 2), *[(6, 6)] * 3, (2, 6), (6, 1))
    y = (x[:, :1] * x[:, 1:] > 0).astype(float)
    blocks = [w * math.sqrt(1 / 3) for w in blocks]
    metrics = measured("loss_surface", layers=3, width=6, n=0, grid=5)
    for net, scale in (("plain", 0.0), ("skip", 3**-0.5)):
        h = x @ (first / math.sqrt(2))
        for w in blocks:
            step = np.maximum(h, 0) @ w
            h = h + scale * step if scale else step
        logits = h @ (last / math.sqrt(6))
        loss = (np.logaddexp(0, logits) - y * logits).mean()
        assert metrics[f"{net}_center_loss"] == pytest.approx(loss, rel=1e-5), net


@pytest.mark.parametrize("seed", [0, 1])
def test_loss_surface_claims(seed):
    """Surfaces of deep plain nets rise higher than residual ones; a rescaled net differs on raw directions only."""
    metrics = measured("loss_surface", seed)
    assert metrics["skip_max_loss"] < metrics["plain_max_loss"]
    assert metrics["log10_max_ratio"] == pytest.approx(math.log10(metrics["plain_max_loss"] / metrics["skip_max_loss"]))
    assert metrics["log10_max_ratio"] > 0
    assert metrics["forwards"] == 225
    assert metrics["rescaling_shift"] < 1e-4
    assert measured("loss_surface", seed, norm="raw", grid=7)["rescaling_shift"] > 0.05


def test_loss_surface_edges():
    """A span of 0 gives a constant map, a huge one still gives numbers; two points per side are refused."""
    flat = measured("loss_surface", span=0.0, grid=5, n=10)
    for net in ("plain", "skip"):
        assert flat[f"{net}_max_loss"] == pytest.approx(flat[f"{net}_center_loss"], rel=1e-6)
        assert flat[f"{net}_basin_share"] == 1
        assert flat[f"{net}_frac_nonfinite"] == 0
    far = measured("loss_surface", span=100.0, grid=5, n=10)
    assert far["plain_max_loss"] > 1e15
    assert measured("loss_surface", grid=51, layers=4, n=0)["forwards"] == 2601
    with pytest.raises(BadParameter):
        measured("loss_surface", grid=2)
