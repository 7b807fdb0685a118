"""Tests the experiment fp16_training against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import draws, measured


def start(seed: int, width: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """The same points, targets and initial weights as the experiment's, in float64."""
    x, first, second = draws(seed, (256, 2), (2, width), (width, 1))
    return x, np.sin(2 * x[:, :1]), [first * 0.5**0.5, np.zeros(width), second * (0.5 / width) ** 0.5, np.zeros(1)]


def mse(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    w1, b1, w2, b2 = weights
    return float(((np.maximum(x @ w1 + b1, 0) @ w2 + b2 - y) ** 2).mean())


@pytest.mark.parametrize(("seed", "width", "lr"), [(0, 32, 0.05), (1, 5, 0.02)])
def test_float32_is_gradient_descent_at_any_loss_weight(seed, width, lr):
    """The MSE after 40 steps equals that of a backward pass in numpy, as the weight of the loss cancels out."""
    x, y, (w1, b1, w2, b2) = start(seed, width)
    first = mse([w1, b1, w2, b2], x, y)
    for _ in range(40):
        z = x @ w1 + b1
        h = np.maximum(z, 0)
        back = 2 * (h @ w2 + b2 - y) / len(x)
        inner = (back @ w2.T) * (z > 0)
        w1, b1, w2, b2 = w1 - lr * x.T @ inner, b1 - lr * inner.sum(0), w2 - lr * h.T @ back, b2 - lr * back.sum(0)
    for loss_mult in (1.0, 1e-6):
        metrics = measured("fp16_training", seed, width=width, lr=lr, n=40, loss_mult=loss_mult)
        assert metrics["start_mse"] == pytest.approx(first, rel=1e-5)
        assert metrics["fp32_mse"] == pytest.approx(mse([w1, b1, w2, b2], x, y), rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_gradients_underflow_and_scaling_recovers(seed):
    """At a loss weight of 1e-6 every float16 gradient is 0 and nothing moves; scaled, or in bfloat16, it trains like
    float32.
    """
    metrics = measured("fp16_training", seed)
    x, y, weights = start(seed, 32)
    rounded = mse([w.astype(np.float16).astype(float) for w in weights], x, y)
    assert metrics["fp16_mse"] == pytest.approx(rounded, rel=1e-4)  # the first weights, rounded, and never moved
    assert metrics["fp16_zero_grads"] == metrics["mixed_zero_grads"] == metrics["fp16_unchanged"] == 1
    assert metrics["mixed_mse"] == metrics["start_mse"]
    assert metrics["fp16_over_fp32"] > 1.1
    assert metrics["mixed_over_fp32"] > 1.1
    assert metrics["scaled_gap"] < 0.1
    assert metrics["scaled_zero_grads"] < 0.05
    assert metrics["bf16_zero_grads"] == metrics["scaled_skipped"] == 0
    assert metrics["bf16_unchanged"] > 0.3


@pytest.mark.parametrize("lr", [0.05, 0.0005])
def test_control_ordinary_gradients_train_in_pure_float16(lr):
    """At loss weight 1 pure float16 is worse by less than 10 %, and no gradient underflows."""
    metrics = measured("fp16_training", loss_mult=1.0, scale=1.0, lr=lr)
    assert metrics["fp16_over_fp32"] < 1.1
    assert metrics["fp16_zero_grads"] == metrics["mixed_zero_grads"] == 0
    assert metrics["fp16_unchanged"] > 0.1


def test_edges():
    """A scale of 1 has no effect; a scale too large skips every step; one step and a rate of 0 run."""
    unscaled = measured("fp16_training", scale=1.0, n=20)
    assert unscaled["scaled_mse"] == unscaled["mixed_mse"]
    huge = measured("fp16_training", scale=16777216.0, loss_mult=1.0, n=20)
    assert huge["scaled_skipped"] == 20
    assert huge["scaled_mse"] == huge["start_mse"]
    still = measured("fp16_training", lr=0.0, n=3)
    assert still["fp32_mse"] == still["scaled_mse"] == still["start_mse"]
    assert still["fp32_unchanged"] == 1
    assert measured("fp16_training", n=1)["fp16_over_fp32"] > 1
