"""Tests the experiment input_units against the backward pass written out in numpy."""

import numpy as np
import pytest
from oracles import measured


def columns(seed: int, spread: float, offset: float) -> tuple[float, float]:
    """The ratio of the gradients' columns in the first layer, and the norm of all gradients, in float64."""
    import torch

    torch.manual_seed(seed)
    z = torch.randn(256, 2, dtype=torch.float64)
    first, second = torch.nn.Linear(2, 32), torch.nn.Linear(32, 1)
    z, w, b, v, c = (
        part.detach().double().numpy() for part in (z, first.weight, first.bias, second.weight, second.bias)
    )
    x = np.stack([z[:, 0], offset + spread * z[:, 1]], axis=1)
    y = (z[:, 0] + (x[:, 1] - x[:, 1].mean()) / x[:, 1].std(ddof=1)) / np.sqrt(2)
    h = x @ w.T + b
    residual = 2 * (np.maximum(h, 0) @ v[0] + c[0] - y) / 256
    delta = residual[:, None] * v * (h > 0)
    parts = [delta.T @ x, delta.sum(0), residual @ np.maximum(h, 0), residual.sum()]
    norms = np.linalg.norm(parts[0], axis=0)
    return norms[1] / norms[0], np.sqrt(sum((np.asarray(part) ** 2).sum() for part in parts))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("spread", "offset"), [(1000.0, 0.0), (3.0, 50.0)])
def test_the_first_gradient(seed, spread, offset):
    metrics = measured("input_units", seed, spread=spread, offset=offset, n=1)
    ratio, size = columns(seed, spread, offset)
    assert metrics["ratio"] == pytest.approx(ratio, rel=1e-3)
    assert metrics["gradient"] == pytest.approx(size, rel=1e-3)


def test_standardised_does_not_depend_on_the_units():
    one, other = (measured("input_units", spread=spread, offset=offset) for spread, offset in ((1.0, 0.0), (1e5, -3e4)))
    assert one["end_standardised"] == pytest.approx(other["end_standardised"], rel=0.05)
    assert one["ratio_standardised"] == pytest.approx(other["ratio_standardised"], rel=1e-3)


def test_only_raw_units_fail():
    metrics = measured("input_units")
    assert metrics["first_bad"] is not None
    assert metrics["end_standardised"] < 0.1 < metrics["end_slow"]
    assert measured("input_units", spread=1.0)["first_bad"] is None
