"""Tests the experiment arch_stability against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import INF, draws, measure, measured


def train(kind: str, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray], lr: float, n: int) -> list[float]:
    """Plain gradient descent in float64, backward pass by hand."""
    weights = [w.copy() for w in weights]
    biases = [np.zeros(w.shape[1]) for w in weights]
    depth, losses = len(weights) - 2, []
    scale = 1 / math.sqrt(depth) if kind == "residual_scaled" else 1.0
    for step in range(n + 1):
        hidden, z = [x @ weights[0] + biases[0]], []
        for w, b in zip(weights[1:-1], biases[1:-1], strict=True):
            h = hidden[-1]
            z.append(h @ w + b if kind.startswith("plain") else np.maximum(h, 0) @ w + b)
            hidden.append(np.maximum(z[-1], 0) if kind.startswith("plain") else h + scale * z[-1])
        error = hidden[-1] @ weights[-1] + biases[-1] - y
        losses.append((error**2).mean())
        if step == n:
            return losses
        back = 2 * error / len(x)
        grads = [(hidden[-1].T @ back, back.sum(0))]
        back = back @ weights[-1].T
        for i in reversed(range(depth)):
            h, w = hidden[i], weights[i + 1]
            if kind.startswith("plain"):
                back = back * (z[i] > 0)
                grads.insert(0, (h.T @ back, back.sum(0)))
                back = back @ w.T
            else:
                branch = scale * back
                grads.insert(0, (np.maximum(h, 0).T @ branch, branch.sum(0)))
                back = back + (branch @ w.T) * (h > 0)
        grads.insert(0, (x.T @ back, back.sum(0)))
        weights = [w - lr * g for w, (g, _) in zip(weights, grads, strict=True)]
        biases = [b - lr * g for b, (_, g) in zip(biases, grads, strict=True)]
    return losses


@pytest.mark.parametrize(("layers", "width", "n"), [(3, 8, 6), (1, 4, 10), (6, 16, 3)])
def test_arch_stability_training(layers, width, n):
    """Initial and best loss of all four nets equal those of a backward pass written by hand."""
    x, read_in, read_out, *inner = draws(0, (128, 2), (2, width), (width, 1), *[(width, width)] * layers)
    y = np.sin(2 * x[:, :1]) + x[:, 1:] / 2
    metrics = measured("arch_stability", layers=layers, width=width, n=n)
    assert metrics["var_y"] == pytest.approx(y.var(), rel=1e-5)
    for kind in ("plain_xavier", "plain_kaiming", "residual", "residual_scaled"):
        gain = 1 if kind == "plain_xavier" else math.sqrt(2)
        weights = [read_in / math.sqrt(2), *(gain * w / math.sqrt(width) for w in inner), read_out / math.sqrt(width)]
        with np.errstate(all="ignore"):
            runs = [train(kind, x, y, weights, lr, n) for lr in (0.1, 0.01, 0.001)]
        assert metrics[f"{kind}_start"] == pytest.approx(runs[0][0], rel=1e-4)
        best = min(run[-1] for run in runs if math.isfinite(run[-1]))
        if best < 10:  # beyond, float32 and float64 part
            assert metrics[f"{kind}_best"] == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_arch_stability_claims(seed):
    """The plain net with Xavier weights makes no progress, the unscaled residual net diverges at every rate, the scaled
    one trains.
    """
    metrics = measured("arch_stability", seed)
    assert metrics["plain_xavier_flatness"] > 0.9
    assert metrics["residual_finite"] == 0
    assert metrics["residual_best"] == INF
    assert metrics["finite_lost"] >= 1
    assert metrics["scaled_over_plain"] < 1
    assert metrics["residual_start"] > 1e6


def test_arch_stability_controls_and_edges():
    """With one layer all nets train and scaling has no effect; with 200 layers losses are flat, diverged or finite as
    expected; lr = 0 changes nothing.
    """
    metrics = measured("arch_stability", layers=1)
    assert metrics["residual_best"] == metrics["residual_scaled_best"]
    assert metrics["finite_lost"] == 0
    assert metrics["plain_xavier_flatness"] < 0.9
    deep = measured("arch_stability", layers=200, n=5)
    assert deep["plain_xavier_flatness"] > 0.9
    assert deep["residual_finite"] == 0
    assert deep["residual_scaled_finite"] >= 1
    still = measured("arch_stability", layers=2, lr=0.0, n=5)
    assert still["plain_kaiming_best"] == still["plain_kaiming_start"]
    rows, _ = measure("arch_stability", layers=2, n=4)
    assert len(rows) == 4 * 5
