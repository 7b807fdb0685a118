"""Tests the experiment flat_when_small against reference values computed by independent code."""

import math
from itertools import pairwise

import numpy as np
import pytest
from oracles import PHI, draws, measure, measured


@pytest.mark.parametrize(
    ("act", "layers", "width", "lr", "gain"), [("sigmoid", 3, 16, 0.1, 1.0), ("tanh", 4, 8, 0.05, 2.0),
                                               ("relu", 2, 32, 0.02, 1.0), ("sigmoid", 1, 64, 0.1, 1.0)]
)  # fmt: skip
def test_flat_when_small_training(act, layers, width, lr, gain):
    """Losses and gradients equal those of a backward pass written by hand in float64."""
    sizes, (phi, slope) = [8, *[width] * (layers - 1), 1], PHI[act]
    x, *raw = draws(0, (128, 8), *pairwise(sizes))
    y = np.sign(x[:, :1] * x[:, 1:2])
    weights = [gain * w / math.sqrt(len(w)) for w in raw]
    biases, losses, first = [np.zeros(w.shape[1]) for w in weights], [], []
    for _ in range(26):
        hidden, z = [x], []
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z.append(hidden[-1] @ w + b)
            hidden.append(phi(z[-1]) if i < layers - 1 else z[-1])
        losses.append(((hidden[-1] - y) ** 2).mean())
        back, grads = 2 * (hidden[-1] - y) / len(x), []
        for i in reversed(range(layers)):
            back = back * slope(z[i]) if i < layers - 1 else back
            grads.insert(0, (hidden[i].T @ back, back.sum(0)))
            back = back @ weights[i].T
        first.append(np.linalg.norm(grads[0][0]))
        weights = [w - lr * g for w, (g, _) in zip(weights, grads, strict=True)]
        biases = [b - lr * g for b, (_, g) in zip(biases, grads, strict=True)]
    metrics = measured("flat_when_small", act=act, layers=layers, width=width, lr=lr, gain=gain, n=25)
    assert metrics["var_y"] == pytest.approx(y.var(), rel=1e-9)
    assert metrics["loss_start"] == pytest.approx(losses[0], rel=1e-4)
    assert metrics["loss_20"] == pytest.approx(losses[20], rel=1e-3)
    assert metrics["loss_end"] == pytest.approx(losses[25], rel=1e-3)
    assert metrics["first_gradient"] == pytest.approx(first[0], rel=1e-4)
    assert metrics["first_gradient_end"] == pytest.approx(first[25], rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_flat_when_small_claims(seed):
    """There is no nan, the loss is that of the best constant, and the first gradient has vanished."""
    metrics = measured("flat_when_small", seed)
    assert metrics["nan"] == 0
    assert metrics["flatness"] < 0.02
    assert metrics["first_gradient"] < 1e-7
    assert metrics["gradient_ratio"] < 1e-6


def test_flat_when_small_controls_and_edges():
    """One layer learns the linear part; 100 layers give a gradient of exactly 0 without nan; at lr = 0 the loss stays;
    He's weights give nan.
    """
    assert measured("flat_when_small", layers=1)["flatness"] > 0.02
    deep = measured("flat_when_small", layers=100, n=20)
    assert deep["first_gradient"] == deep["first_gradient_end"] == deep["nan"] == 0
    still = measured("flat_when_small", lr=0.0)
    assert still["loss_start"] == still["loss_20"] == still["loss_end"]
    assert still["first_gradient"] == still["first_gradient_end"]
    assert measured("flat_when_small", act="relu", gain=math.sqrt(2))["nan"] == 1
    rows, _ = measure("flat_when_small", n=1)
    assert [row["step"] for row in rows] == [0, 1]
