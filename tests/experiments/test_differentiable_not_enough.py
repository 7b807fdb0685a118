"""Tests the experiment differentiable_not_enough against a backward pass written by hand, and what must hold of its
training.
"""

import math

import numpy as np
import pytest
from oracles import PHI, draws, measured, rms_norm

from qa_service.errors import BadParameter

WITH_STEP = PHI | {
    "step": (lambda z: (np.sign(z) + 1) / 2, np.zeros_like),
    "step_ste": (lambda z: (np.sign(z) + 1) / 2, lambda z: (np.abs(z) < 1) / 2),
}


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh", "step", "step_ste"])
def test_differentiable_not_enough_first_gradient(layers, name):
    """The norm of dL/dW₁ before training equals that of numpy in float64 for the same draws."""
    x, first, hidden, read_out = draws(0, (256, 2), (2, 7), (layers - 1, 7, 7), (7, 1))
    y = np.sign(x[:, :1] * x[:, 1:])
    phi, slope = WITH_STEP[name]
    gain = 2 if name == "relu" else 1
    weights = [first * math.sqrt(gain / 2), *(w * math.sqrt(gain / 7) for w in hidden)]
    h, pre = x, []
    for w in weights:
        pre.append(h @ w)
        h = phi(pre[-1])
    back = 2 * (h @ read_out / math.sqrt(7) - y) / 256 @ read_out.T / math.sqrt(7)
    for w, z in zip(reversed(weights[1:]), reversed(pre[1:]), strict=True):
        back = (back * slope(z)) @ w.T
    gradient = rms_norm(x.T @ (back * slope(pre[0])))
    metrics = measured("differentiable_not_enough", layers=layers, width=7, n=1, act=name)
    assert metrics[f"{name}_grad"] == pytest.approx(gradient, rel=1e-4, abs=0)


def test_differentiable_not_enough_default():
    """The gradient of the step function is exactly 0 and it learns nothing; ReLU and the straight-through estimator
    learn.
    """
    metrics = measured("differentiable_not_enough")
    assert metrics["step_grad"] == 0
    assert metrics["relu_acc"] > 0.9
    assert metrics["tanh_acc"] > 0.9
    assert metrics["sigmoid_acc"] < metrics["relu_acc"] - 0.1
    assert metrics["ste_minus_step"] > 0.02
    assert metrics["relu_minus_step"] == pytest.approx(metrics["relu_acc"] - metrics["step_acc"])


@pytest.mark.parametrize("seed", [0, 1])
def test_differentiable_not_enough_depth(seed):
    """A net with one layer of sigmoids learns; with twenty it does not, while ReLU does."""
    shallow = measured("differentiable_not_enough", seed, layers=1)
    assert shallow["relu_minus_sigmoid"] < 0.2 < shallow["relu_minus_step"]
    deep = measured("differentiable_not_enough", seed, layers=20, n=100, act="sigmoid")
    assert deep["sigmoid_acc"] < 0.6
    assert measured("differentiable_not_enough", seed, layers=20, n=100, act="relu")["relu_acc"] > 0.9


def test_differentiable_not_enough_control_and_edges():
    """A linear target needs no hidden layer that learns; lr = 0 stays at chance; 60 layers fail in 30 steps."""
    linear = measured("differentiable_not_enough", layers=2, target="linear")
    assert linear["relu_minus_step"] < 0.1
    assert linear["step_acc"] > 0.9
    still = measured("differentiable_not_enough", lr=0.0, n=2)
    assert all(0.3 < still[f"{name}_acc"] < 0.7 for name in ("step", "sigmoid", "relu", "tanh"))
    deep = measured("differentiable_not_enough", layers=60, n=30)
    assert deep["relu_acc"] < 0.9
    only = measured("differentiable_not_enough", act="tanh", n=1)
    assert only["step_acc"] is only["relu_minus_step"] is None
    with pytest.raises(BadParameter):
        measured("differentiable_not_enough", layers=60, n=300)
