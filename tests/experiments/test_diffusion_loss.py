"""Tests the experiment diffusion_loss against closed forms: one Gaussian's posterior, and two centres integrated
numerically.
"""

import math

import numpy as np
import pytest
from oracles import measured

TIMES = np.linspace(0.01, 0.99, 50)
KEPT = np.cos(math.pi * TIMES / 2) ** 2


def one_coordinate(middles: tuple[float, ...], spread: float, kept: float) -> float:
    """E Var(ε | x_t) of a mixture of equally likely Gaussians on a line, by integration over x_t and the centres."""
    root, noise = math.sqrt(kept), 1 - kept
    variance = kept * spread**2 + noise
    x = np.linspace(-3 - 12 * math.sqrt(variance), 3 + 12 * math.sqrt(variance), 40001)
    apart = x[:, None] - root * np.array(middles)
    density = np.exp(-(apart**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance) / len(middles)
    weight = density / density.sum(1, keepdims=True).clip(min=1e-300)
    each = apart * math.sqrt(noise) / variance
    mean = (weight * each).sum(1)
    second = (weight * (each**2 + kept * spread**2 / variance)).sum(1)
    return float(((second - mean**2) * density.sum(1)).sum() * (x[1] - x[0]))


def test_an_output_of_zero_costs_one():
    assert measured("diffusion_loss", n=8, lr=0.0)["loss_start"] == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("width", [0.05, 0.5])
def test_floor_of_one_gaussian(width):
    theory = KEPT * width**2 / (KEPT * width**2 + 1 - KEPT)
    metrics = measured("diffusion_loss", centres=1, width=width, n=8)
    assert metrics["floor"] == pytest.approx(theory.mean(), rel=0.12)
    assert metrics["floor_first"] == pytest.approx(theory[0], rel=0.35)
    assert metrics["floor_last"] == pytest.approx(theory[-1], rel=0.35)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_floor_of_two_centres(scale):
    root_two = math.sqrt(2)
    spread = 0.3 * scale
    across = (
        [one_coordinate((-root_two * scale, root_two * scale), spread, kept) for kept in KEPT] if scale == 1 else None
    )
    along = KEPT * spread**2 / (KEPT * spread**2 + 1 - KEPT)
    metrics = measured("diffusion_loss", centres=2, width=0.3, scale=scale, n=8)
    expected = (np.array(across) + along) / 2 if across else along
    assert metrics["floor"] == pytest.approx(expected.mean(), rel=0.05)


def test_training_ends_above_the_floor_and_samples_improve_late():
    metrics = measured("diffusion_loss")
    assert metrics["floor"] < metrics["loss_end"] < metrics["loss_early"] < 0.6
    assert metrics["early_share"] == pytest.approx(
        (metrics["loss_start"] - metrics["loss_early"]) / (metrics["loss_start"] - metrics["loss_end"])
    )
    assert metrics["gain"] == pytest.approx(metrics["off_early"] / metrics["off_end"])
    assert metrics["gain"] > 1.3


def test_batch_losses_jump_as_the_root_of_the_batch():
    small, large = (measured("diffusion_loss", batch=batch)["jumps"] for batch in (64, 256))
    assert small / large == pytest.approx(2, rel=0.3)


def test_a_large_rate_stays_at_one():
    assert measured("diffusion_loss", lr=1.0)["loss_end"] == pytest.approx(1, abs=0.1)
