"""Tests the experiment nan_trace against reference values computed by independent code."""

import math
from itertools import pairwise

import numpy as np
import pytest
from oracles import (
    draws,
    measured,
)


@pytest.mark.parametrize(("layers", "width", "lr"), [(4, 32, 0.01), (2, 5, 0.03), (1, 8, 0.1)])
def test_nan_trace_gradients_and_training(layers, width, lr):
    """Loss, first gradient and loss after 30 steps equal those of a backward pass in numpy."""
    sizes = [8, *[width] * (layers - 1), 1]
    x, *raw = draws(0, (64, 8), *pairwise(sizes))
    y = 3 * x[:, :1] * x[:, 1:2] + 5
    weights = [w * math.sqrt(2 / len(w)) for w in raw]
    losses, first = [], 0.0
    for step in range(30):
        z = [x @ weights[0]]
        for w in weights[1:]:
            z.append(np.maximum(z[-1], 0) @ w)
        losses.append(((z[-1] - y) ** 2).mean())
        back, grads = 2 * (z[-1] - y) / len(x), []
        for i in reversed(range(layers)):
            grads.insert(0, (np.maximum(z[i - 1], 0) if i else x).T @ back)
            back = (back @ weights[i].T) * (z[i - 1] > 0) if i else back
        first = max(abs(g).max() for g in grads) if step == 0 else first
        weights = [w - lr * g for w, g in zip(weights, grads, strict=True)]
    metrics = measured("nan_trace", layers=layers, width=width, lr=lr, n=30, dtype="float64")
    assert metrics["grad_start"] == pytest.approx(first, rel=1e-5)
    assert metrics["loss_start"] == pytest.approx(losses[0], rel=1e-5)
    assert metrics["loss_end"] == pytest.approx(losses[-1], rel=1e-4)
    assert metrics["loss_ratio"] == pytest.approx(losses[-1] / losses[0], rel=1e-4)


def test_nan_trace_order_of_events():
    """First the gradient grows, then a value is inf, then weights are nan, and the run stops."""
    metrics = measured("nan_trace")
    assert metrics["growth"] > 100
    assert metrics["first_inf_step"] <= metrics["first_nan_step"] <= metrics["weight_nan_step"]
    assert metrics["nan_after_inf"] == metrics["first_nan_step"] - metrics["first_inf_step"]
    assert metrics["steps_run"] == metrics["weight_nan_step"] + 1
    events = [
        metrics[f"{what}_{kind}_step"] for what in ("activation", "loss", "gradient", "weight") for kind in ("inf",)
    ]
    assert metrics["first_inf_step"] == min(event for event in events if event is not None)
    assert 1 <= metrics["first_bad_layer"] <= 4
    assert math.isnan(metrics["loss_end"])


@pytest.mark.parametrize("params", [{"lr": 0.01}, {"clip": 1.0}, {"layers": 1}, {"lr": 0.0}, {"n": 1}])
def test_nan_trace_controls(params):
    """With a small rate, a clipped gradient, one layer or no step there is no inf or nan; lr = 0 changes nothing."""
    metrics = measured("nan_trace", **params)
    assert all(value is None for name, value in metrics.items() if name.endswith(("inf_step", "nan_step")))
    assert metrics["first_bad_layer"] is metrics["nan_after_inf"] is None
    assert metrics["growth"] >= 1
    assert metrics["steps_run"] == params.get("n", 200)
    if params in ({"lr": 0.0}, {"n": 1}):
        assert metrics["loss_ratio"] == metrics["growth"] == 1


def test_nan_trace_float16_ends_sooner():
    """As float16's range ends at 65504, growth far below 1e8 suffices."""
    metrics = measured("nan_trace", lr=0.1, dtype="float16")
    assert metrics["first_nan_step"] is not None
    assert metrics["grad_max_finite"] <= 65504
    assert metrics["growth"] < measured("nan_trace", lr=0.1)["growth"] / 1e6
