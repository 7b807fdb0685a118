"""Tests the experiment cholesky_jitter against numpy's Cholesky and eigenvalues."""

import numpy as np
import pytest
from oracles import NAN, measured, same


def kernel(n: int, length: float) -> np.ndarray:
    x = np.linspace(0, 1, n)
    return np.exp(-((x[:, None] - x) ** 2) / (2 * length**2))


@pytest.mark.parametrize(
    ("n", "length", "jitter"), [(50, 0.02, 0.0), (100, 0.3, 1e-3), (100, 0.3, 1e-9), (200, 1.0, 0.0)]
)
def test_failures_and_eigenvalues(n, length, jitter):
    k = kernel(n, length).astype(np.float32)
    try:
        np.linalg.cholesky(k + np.float32(jitter) * np.eye(n, dtype=np.float32))
        fails = 0
    except np.linalg.LinAlgError:
        fails = 1
    metrics = measured("cholesky_jitter", n=n, length=length, jitter=jitter)
    assert metrics["fails"] == fails
    assert metrics["largest"] == pytest.approx(np.linalg.eigvalsh(k.astype(float))[-1], rel=1e-6)
    assert same(metrics["error"], NAN) if fails else metrics["error"] < 1e-5


@pytest.mark.parametrize("n", [50, 100, 300])
def test_the_jitter_that_is_needed(n):
    """It has the order of the bound n·2⁻²⁴, and is not far below that for a smooth kernel."""
    metrics = measured("cholesky_jitter", n=n)
    assert metrics["theory"] / 100 < metrics["needed"] < metrics["theory"] * 10
    assert metrics["smallest"] < metrics["needed"]


def test_points_that_are_far_apart_need_none():
    metrics = measured("cholesky_jitter", length=0.01)
    assert (metrics["fails"], metrics["smallest"] > 0.01) == (0, True)
