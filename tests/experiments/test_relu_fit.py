"""Tests the experiment relu_fit against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import measure, measured

GRID = np.linspace(-1, 1, 201)
CURVES = {
    "x^1": lambda x: x, "x^2": lambda x: x**2, "x^3": lambda x: x**3, "x^7": lambda x: x**7, "sin": np.sin,
    "abs": lambda x: abs(x - 1 / 3), "sqrt": lambda x: np.sqrt(abs(x)),
}  # fmt: skip


def adam_by_hand(seed: int, hidden: int, lr: float, n: int, target: str) -> tuple[np.ndarray, np.ndarray]:
    """The outputs on the data after n steps, and the kinks, in float64: Adam and the gradient written out."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    nn.Linear(1, hidden), nn.Linear(hidden, 1)  # their default weights are drawn and thrown away
    w = np.sqrt(2) * torch.randn(hidden, 1).double().numpy()[:, 0]
    b = w * (2 * torch.rand(hidden).double().numpy() - 1)
    v = np.sqrt(2 / hidden) * torch.randn(1, hidden).double().numpy()[0]
    params = [w, b, v, np.zeros(1)]
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    x, y = GRID.astype(np.float32).astype(float), CURVES[target](GRID.astype(np.float32).astype(float))
    for step in range(1, n + 1):
        w, b, v, c = params
        z = np.outer(x, w) + b
        back = 2 * (np.maximum(z, 0) @ v + c - y) / len(x)
        gate = np.outer(back, v) * (z > 0)
        grads = [x @ gate, gate.sum(0), np.maximum(z, 0).T @ back, back.sum(keepdims=True)]
        for i, g in enumerate(grads):
            first[i], second[i] = 0.9 * first[i] + 0.1 * g, 0.999 * second[i] + 0.001 * g**2
            size = np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8
            params[i] = params[i] - lr * first[i] / (1 - 0.9**step) / size
    w, b, v, c = params
    return np.maximum(np.outer(x, w) + b, 0) @ v + c, -b / w


@pytest.mark.parametrize(("hidden", "target", "n"), [(8, "x^2", 30), (16, "sin", 20), (3, "abs", 0)])
def test_relu_fit_training(hidden, target, n):
    """Errors and kinks are those of Adam written by hand in numpy, gradients included."""
    outputs, kinks = adam_by_hand(1, hidden, 0.01, n, target)
    metrics = measured("relu_fit", 1, hidden=hidden, target=target, n=n)
    errors = abs(outputs - CURVES[target](GRID))
    assert metrics["mse"] == pytest.approx((errors**2).mean(), rel=1e-3)
    assert metrics["max_err"] == pytest.approx(errors.max(), rel=1e-3)
    assert metrics["kinks_inside"] == (abs(kinks) < 1).sum()


@pytest.mark.parametrize("target", [t for t in CURVES if t != "x^1"])
def test_relu_fit_line_is_least_squares(target):
    """Without activation the net ends at the least-squares line, whose error numpy's polyfit gives."""
    y = CURVES[target](GRID)
    floor = ((np.polyval(np.polyfit(GRID, y, 1), GRID) - y) ** 2).mean()
    metrics = measured("relu_fit", target=target, hidden=32)
    assert metrics["linear_floor"] == pytest.approx(floor, rel=1e-4)
    assert 0 <= metrics["linear_off_floor"] < 1e-3


@pytest.mark.parametrize(("target", "floor"), [("x^2", 0.0906688), ("x^3", 0.0235433)])
def test_relu_fit_claims(target, floor):
    """With ReLU the error is tiny, without it that of a line; outside the data it is more than 20 times larger."""
    rows, metrics = measure("relu_fit", target=target)
    assert metrics["mse"] < 1e-3
    assert metrics["linear_mse"] == pytest.approx(floor, rel=1e-3)
    assert metrics["times_better"] > 20
    assert metrics["outside_over_inside"] > 20
    assert len(rows) == 121
    assert metrics["err_at_x"] == pytest.approx(abs(metrics["net_at_x"] - 3.0 ** int(target[2])))


@pytest.mark.parametrize("params", [{"act": "identity"}, {"n": 0}, {"lr": 0.0}, {"hidden": 1}])
def test_relu_fit_controls(params):
    """Without activation, without training or with one unit there is no fit; before training every kink lies within the
    data.
    """
    metrics = measured("relu_fit", **params)
    assert metrics["mse"] > 0.02
    if params.get("n", params.get("lr", 1)) == 0:
        assert metrics["kinks_inside"] == 64


def test_relu_fit_curvature():
    """Inside, the trained net bends like the parabola (2); far outside it is straight."""
    assert measured("relu_fit", x=0.0)["curvature_at_x"] == pytest.approx(2, abs=0.25)
    assert measured("relu_fit", x=1000.0)["abs_curvature_at_x"] < 1e-9


def test_relu_fit_of_a_line():
    """x¹ is a line already: there is nothing to gain and no ratio to take."""
    metrics = measured("relu_fit", target="x^1")
    assert metrics["linear_mse"] < 1e-10
    assert metrics["linear_off_floor"] is metrics["times_better"] is None
