"""Tests the experiment pairwise_distances against scipy's cdist in float64 and the size of the rounding error."""

import numpy as np
import pytest
import torch
from oracles import measured
from scipy.spatial.distance import cdist


def points(seed: int, n: int, d: int, spread: float, offset: float) -> np.ndarray:
    torch.manual_seed(seed)
    return (spread * torch.randn(n, d) + offset).double().numpy()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (50.0, 1.0), (2000.0, 0.5)])
def test_errors_and_neighbours(seed, offset, spread):
    """The expanded form is repeated in numpy's float32, whose sums have another order."""
    x = points(seed, 60, 8, spread, offset)
    exact, single = cdist(x, x, "sqeuclidean"), x.astype(np.float32)
    squares = (single**2).sum(1)
    found = squares[:, None] + squares - 2 * single @ single.T
    off = ~np.eye(60, dtype=bool)
    metrics = measured("pairwise_distances", seed, offset=offset, spread=spread, n=60, d=8)
    error = np.median(np.abs(found[off].astype(float) - exact[off]) / exact[off])
    assert metrics["error"] == pytest.approx(error, rel=0.5, abs=1e-6)
    assert metrics["negative"] == pytest.approx((found[off] < 0).mean(), abs=0.06)
    assert metrics["error_direct"] < 1e-6


def test_the_error_follows_the_offset_squared():
    near, far = (measured("pairwise_distances", offset=offset, spread=1.0) for offset in (30.0, 300.0))
    assert far["error"] / near["error"] == pytest.approx(100, rel=0.5)
    assert far["theory"] / 10 < far["error"] < far["theory"] * 2


def test_centring_puts_it_right():
    metrics = measured("pairwise_distances")
    assert metrics["negative"] > 0.01
    assert metrics["wrong"] > 0.5
    assert (metrics["negative_centred"], metrics["wrong_centred"]) == (0, 0)
    assert metrics["error_centred"] < 1e-5


def test_the_nearest_neighbours_are_the_true_ones_near_the_origin():
    x = points(3, 50, 4, 1.0, 0.0)
    exact = cdist(x, x) + np.diag(np.full(50, np.inf))
    assert len(set(exact.argmin(1))) > 1
    assert measured("pairwise_distances", 3, offset=0.0, spread=1.0, n=50, d=4)["wrong"] == 0
