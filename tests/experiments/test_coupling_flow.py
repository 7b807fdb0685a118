"""Tests the experiment coupling_flow against couplings written out in numpy, float64, and its Jacobian by
differences.
"""

import numpy as np
import pytest
from oracles import draws, measured


def forward(x: np.ndarray, nets: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    kept, moved, log_det = x[:, :4], x[:, 4:], np.zeros(len(x))
    for first, second in nets:
        out = np.tanh(kept @ first) @ second
        kept, moved = moved * np.exp(out[:, :4]) + out[:, 4:], kept
        log_det += out[:, :4].sum(1)
    return np.concatenate([kept, moved], 1), log_det


def run_of(seed: int, layers: int, spread: float) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    x, *weights = draws(seed, (256, 8), *[(4, 16), (16, 8)] * layers)
    pairs = zip(weights[::2], weights[1::2], strict=True)
    return x, [(first / 2, second * spread / 4) for first, second in pairs]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("layers", "spread"), [(1, 1.0), (6, 0.5)])
def test_forward_and_log_determinant(seed, layers, spread):
    x, nets = run_of(seed, layers, spread)
    z, log_det = forward(x, nets)
    metrics = measured("coupling_flow", seed, layers=layers, spread=spread)
    assert metrics["largest"] == pytest.approx(np.abs(z).max(), rel=1e-3)
    assert metrics["log_det"] == pytest.approx(log_det.mean(), rel=1e-3, abs=1e-3)
    step = 1e-6
    jacobian = np.stack([(forward(x[:1] + step * e, nets)[0] - z[:1])[0] / step for e in np.eye(8)], axis=1)
    assert np.linalg.slogdet(jacobian)[1] == pytest.approx(log_det[0], abs=1e-3)


def test_bounded_scales_keep_the_digits():
    metrics = measured("coupling_flow")
    assert metrics["error"] > 0.1
    assert metrics["error_bounded"] < 1e-3
    assert metrics["error_float64"] < 1e-4
    assert measured("coupling_flow", spread=0.0)["error"] < 1e-5
