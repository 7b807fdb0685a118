"""Tests the experiment acos_gradient against the exact angle and its gradient, which has norm 1."""

import math

import numpy as np
import pytest
from oracles import NAN, measured, same


@pytest.mark.parametrize("angle", [0.02, 0.7, 1.5, 3.0])
def test_ordinary_angles(angle):
    """All three ways to compute the angle agree with each other and with the exact one."""
    metrics = measured("acos_gradient", angle=angle)
    for way in ("acos", "clamped", "atan2"):
        assert metrics[f"{way}_gradient"] == pytest.approx(1, rel=2e-3)
        assert metrics[f"{way}_error"] < 1e-3


def test_parallel_vectors():
    metrics = measured("acos_gradient")
    assert same(metrics["acos_gradient"], NAN)
    assert metrics["acos_bad"] > 0.1
    assert metrics["atan2_bad"] == 0
    assert metrics["clamped_gradient"] == 0
    assert metrics["clamped_error"] == pytest.approx(math.acos(1 - 1e-6), rel=0.05)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_small_angle_is_known_to_float32_vectors(seed):
    """atan2 finds the angle 2·asin(|a − b|/2) of the rounded vectors; their float32 cosine no longer contains it."""
    import torch

    torch.manual_seed(seed)
    q = torch.linalg.qr(torch.randn(64, 3, 3).double())[0].numpy()
    a = q[:, :, 0].astype(np.float32)
    b = (math.cos(1e-4) * q[:, :, 0] + math.sin(1e-4) * q[:, :, 1]).astype(np.float32)
    exact = 2 * np.arcsin(np.linalg.norm(a.astype(float) - b, axis=1) / 2)
    metrics = measured("acos_gradient", seed, angle=1e-4)
    assert metrics["atan2_error"] == pytest.approx(np.abs(exact - 1e-4).mean() / 1e-4, abs=1e-3)
    assert metrics["acos_error"] > 0.2
