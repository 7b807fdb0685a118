"""Tests the experiment edge_of_stability against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import draws, measured

SHAPES = [(4, 3), (3, 3), (3, 1)]


def gradient(flat, x, y):
    """The gradient of half the mean squared error by a backward pass written by hand: weights and biases
    alternately.
    """
    parts, at = [], 0
    for a, b in SHAPES:
        parts += [flat[at : at + a * b].reshape(a, b), flat[at + a * b : at + a * b + b]]
        at += a * b + b
    h = [x]
    for i in range(3):
        z = h[-1] @ parts[2 * i] + parts[2 * i + 1]
        h.append(np.tanh(z) if i < 2 else z)
    back, out = (h[3] - y) / len(x), []
    for i in reversed(range(3)):
        out = [(h[i].T @ back).ravel(), back.sum(0), *out]
        back = (back @ parts[2 * i].T) * (1 - h[i] ** 2)
    return np.concatenate(out), ((h[3] - y) ** 2).mean() / 2


def test_edge_of_stability_eigenvalue_by_differences():
    """The eigenvalue after 40 steps is that of a Hessian made of finite differences of a gradient written by hand."""
    x, *rest = draws(0, (48, 4), *SHAPES)
    y = x[:, :1] * x[:, 1:2] + np.sin(2 * x[:, 2:3])
    flat = np.concatenate([p for w in rest for p in ((w / math.sqrt(len(w))).ravel(), np.zeros(w.shape[1]))])
    first = gradient(flat, x, y)[1]
    for _ in range(40):
        flat = flat - 0.2 * gradient(flat, x, y)[0]
    unit = np.eye(len(flat)) * 1e-5
    hessian = np.array([(gradient(flat + e, x, y)[0] - gradient(flat - e, x, y)[0]) / 2e-5 for e in unit])
    metrics = measured("edge_of_stability", width=3, n=40)
    assert metrics["loss_start"] == pytest.approx(first)
    assert metrics["loss_end"] == pytest.approx(gradient(flat, x, y)[1], rel=1e-6)
    assert metrics["end"] == pytest.approx(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], rel=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_edge_of_stability_claims(seed):
    """The sharpness rises from below 2/lr to that value; at a tenth of the rate it does not reach it in as many
    steps.
    """
    metrics = measured("edge_of_stability", seed)
    assert metrics["two_over_lr"] == 10
    assert metrics["start"] < 9
    assert metrics["ratio"] == pytest.approx(metrics["end"] / 10)
    assert metrics["distance"] == abs(metrics["ratio"] - 1) < 0.15
    assert metrics["loss_end"] < metrics["loss_start"] / 10
    assert measured("edge_of_stability", seed, lr=0.02)["ratio"] < 0.4


def test_edge_of_stability_edges():
    """One step runs; a rate of 1 diverges to nan, not to an error."""
    assert measured("edge_of_stability", n=1)["edge_step"] is None
    assert math.isnan(measured("edge_of_stability", lr=1.0, n=400)["ratio"])
