"""Tests the experiment spectral_gradient against difference quotients of numpy's eigh in float64, and limits that are
known.
"""

import math

import numpy as np
import pytest
import torch
from oracles import NAN, measure, measured, same


def drawn(seed: int, rotate: bool) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvectors and c of a run."""
    torch.manual_seed(seed)
    q = torch.linalg.qr(torch.randn(3, 3).double())[0] if rotate else torch.eye(3).double()
    return q.numpy(), torch.randn(3).double().numpy()


def norm_by_differences(a: np.ndarray, function) -> float:
    """Norm of the symmetric gradient: each entry by a central difference along the symmetric unit matrix."""
    gradient = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            step = np.zeros((3, 3))
            step[i, j] += 5e-7
            step[j, i] += 5e-7
            gradient[i, j] = (function(a + step) - function(a - step)) / 2e-6
    return float(np.linalg.norm(gradient))


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("gap", [0.05, 0.5])
def test_norms_by_difference_quotients(seed, rotate, gap):
    """One eigenvector, the plane and the eigenvalues, at a gap that differences can resolve."""
    q, c = drawn(seed, rotate)
    a = q * np.array([1, 1 + gap, 3]) @ q.T
    _, metrics = measure("spectral_gradient", seed, gap=gap, rotate=rotate)
    parts = lambda m, k: ((c @ np.linalg.eigh(m)[1])[:k] ** 2).sum()  # noqa: E731
    assert metrics["one_norm"] == pytest.approx(norm_by_differences(a, lambda m: parts(m, 1)), rel=1e-3)
    assert metrics["plane_norm"] == pytest.approx(norm_by_differences(a, lambda m: parts(m, 2)), rel=1e-3)
    assert metrics["true_norm"] == pytest.approx(norm_by_differences(a, lambda m: parts(m, 2)), rel=1e-5)
    assert metrics["values_norm"] == pytest.approx(math.sqrt(2), rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_eigenvalues(seed):
    """Through eigh all gradients are nan; broadened they are right; those of the eigenvalues themselves are finite."""
    _, metrics = measure("spectral_gradient", seed, gap=0.0)
    assert same(metrics["plane_norm"], NAN)
    assert same(metrics["apart_err"], NAN)
    assert metrics["bad_gradients"] == 1
    assert metrics["broadened_err"] < 1e-5
    assert metrics["values_norm"] == pytest.approx(math.sqrt(2))


def test_one_vector_grows_like_one_over_the_gap():
    """A gap a thousand times smaller gives a gradient a thousand times larger."""
    norms = [measured("spectral_gradient", gap=gap)["one_norm"] for gap in (1e-2, 1e-5)]
    assert norms[1] / norms[0] == pytest.approx(1000, rel=0.02)


def test_too_much_broadening_is_wrong():
    """A large eps makes the gradient inaccurate."""
    assert measured("spectral_gradient", eps=0.1)["broadened_err"] > 0.01
