"""Tests the experiment zero_vector against the projection formula (c − (c·u)u)/|v|."""

import numpy as np
import pytest
from oracles import NAN, measured, same


def parts(seed: int) -> tuple[float, float]:
    """The norm of c's part perpendicular to the direction, and the norm of c."""
    import torch

    torch.manual_seed(seed)
    direction, c = torch.randn(16).double().numpy(), torch.randn(16).double().numpy()
    u = direction / np.linalg.norm(direction)
    return float(np.linalg.norm(c - (c @ u) * u)), float(np.linalg.norm(c))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("norm", [1e-6, 0.01, 3.0])
def test_gradients_of_a_vector_that_is_not_zero(seed, norm):
    metrics, (across, _) = measured("zero_vector", seed, norm=norm, eps=1e-12), parts(seed)
    for way in ("by_hand", "normalize", "cosine", "inside"):
        assert metrics[way] == pytest.approx(across / norm, rel=1e-3)
    assert metrics["length"] == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("eps", [1e-3, 0.1])
def test_the_zero_vector(eps):
    metrics, (_, size) = measured("zero_vector", eps=eps), parts(0)
    assert same(metrics["by_hand"], NAN)
    assert metrics["bad"] == 1
    assert metrics["normalize"] == pytest.approx(size * 1e12, rel=1e-4)
    assert metrics["cosine"] == pytest.approx(size * 1e8, rel=1e-4)
    assert metrics["inside"] == pytest.approx(size / eps, rel=1e-4)
    assert metrics["length"] == 0


def test_the_length_shows_eps():
    assert measured("zero_vector", norm=0.003, eps=0.004)["length"] == pytest.approx(0.6, rel=1e-5)
