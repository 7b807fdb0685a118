"""Tests the experiment bn_after_linear against normalisation and its gradient written out in numpy."""

import numpy as np
import pytest
from oracles import measured


def draw(seed: int, inputs: int, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    import torch

    torch.manual_seed(seed)
    x, w = torch.randn(batch, inputs).double(), torch.randn(inputs).double()
    cotangent, others = torch.randn(batch).double(), torch.randn(10, inputs).double()
    return x.numpy(), w.numpy(), cotangent.numpy(), others.numpy()


def normalised(z: np.ndarray) -> np.ndarray:
    return (z - z.mean()) / np.sqrt(z.var() + 1e-5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("inputs", "batch"), [(1, 64), (3, 100), (8, 256)])
def test_against_numpy(seed, inputs, batch):
    x, w, cotangent, others = draw(seed, inputs, batch)
    metrics = measured("bn_after_linear", seed, inputs=inputs, batch=batch)
    y, deviation = normalised(x @ w), np.sqrt((x @ w).var() + 1e-5)
    inner = (cotangent - cotangent.mean() - y * (cotangent * y).mean()) / deviation
    gradient, plain = x.T @ inner, x.T @ cotangent
    assert metrics["gradient"] == pytest.approx(np.linalg.norm(gradient) / np.linalg.norm(plain), rel=1e-6)
    other = [abs(np.corrcoef(normalised(x @ weights), y)[0, 1]) for weights in others]
    assert metrics["other"] == pytest.approx(np.mean(other), rel=1e-9)
    change = np.abs(normalised(10 * x @ w) - y).max() / np.abs(y).max()
    assert metrics["scaled_change"] == pytest.approx(change, rel=1e-6)


def test_the_direction_is_learned():
    """With several inputs, the gradient turns the weight vector and does not lengthen it."""
    metrics = measured("bn_after_linear")
    assert metrics["after"] > 0.999
    assert abs(metrics["radial"]) < 1e-4


def test_tiny_weights_let_eps_show():
    assert measured("bn_after_linear", scale=1e-4)["scaled_change"] > 0.5
