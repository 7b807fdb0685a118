"""Tests the experiment bn_train_eval against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import demo, measure, measured


def start(seed: int, momentum: float, n: int, batch: int):
    """The same points, batches and initial weights of the BN net as the experiment, in float64 numpy."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    x = torch.randn(1024, 2)
    net = demo("bn_train_eval").network(nn.BatchNorm1d(32, momentum=momentum))
    demo("bn_train_eval").network(nn.GroupNorm(4, 32))  # draws its weights in between
    weights = [layer.weight.detach().double().numpy() for layer in net if isinstance(layer, nn.Linear)]
    bias = net[-1].bias.detach().double().numpy()
    return x.double().numpy(), weights, bias, [torch.randint(1024, (batch,)).numpy() for _ in range(n)]


class ByHand:
    """The net in numpy with its backward pass."""

    def __init__(self, weights, bias, momentum):
        self.weights, self.bias, self.m = [w.copy() for w in weights], bias.copy(), momentum
        self.gamma, self.beta = [np.ones(32) for _ in range(3)], [np.zeros(32) for _ in range(3)]
        self.mean, self.var = [np.zeros(32) for _ in range(3)], [np.ones(32) for _ in range(3)]

    def forward(self, h, *, training, keep=None):
        kept = []
        for i in range(3):
            z = h @ self.weights[i].T
            middle, spread = (z.mean(0), z.var(0)) if training else (self.mean[i], self.var[i])
            if keep is not None:
                self.mean[i] = (1 - keep) * self.mean[i] + keep * z.mean(0)
                self.var[i] = (1 - keep) * self.var[i] + keep * z.var(0, ddof=1)
            s = (z - middle) / np.sqrt(spread + 1e-5)
            kept.append((h, s, np.sqrt(spread + 1e-5)))
            h = np.maximum(self.gamma[i] * s + self.beta[i], 0)
        return (h @ self.weights[3].T + self.bias)[:, 0], h, kept

    def step(self, x, y, lr):
        logit, top, kept = self.forward(x, training=True, keep=self.m)
        back = ((1 / (1 + np.exp(-logit)) - y) / len(x))[:, None]
        grads = [(3, back.T @ top)]
        g_bias, g = back.sum(0), back @ self.weights[3]
        for i in reversed(range(3)):
            h, s, spread = kept[i]
            g = g * (self.gamma[i] * s + self.beta[i] > 0)
            g_gamma, g_beta, gs = (g * s).sum(0), g.sum(0), g * self.gamma[i]
            gz = (gs - gs.mean(0) - s * (gs * s).mean(0)) / spread
            grads.append((i, gz.T @ h))
            g = gz @ self.weights[i]
            self.gamma[i], self.beta[i] = self.gamma[i] - lr * g_gamma, self.beta[i] - lr * g_beta
        self.bias = self.bias - lr * g_bias
        for i, grad in grads:
            self.weights[i] = self.weights[i] - lr * grad

    def recalibrate(self, x):
        for at, part in enumerate(np.split(x, 16)):
            self.forward(part, training=True, keep=1 / (at + 1))


@pytest.mark.parametrize("params", [{"momentum": 0.001}, {"momentum": 0.1, "shift": 1.0}, {"momentum": 0.3, "n": 0}])
def test_bn_train_eval_by_hand(params):
    """Training, both modes and both recalibrations agree with a backward pass written in numpy."""
    full = {"n": 25, "lr": 0.1, "batch": 64, "shift": 0.0} | params
    x, weights, bias, batches = start(0, full["momentum"], full["n"], full["batch"])
    y = ((x**2).sum(1) > 2 * np.log(2)).astype(float)
    net, moved = ByHand(weights, bias, full["momentum"]), x + full["shift"]
    for picked in batches:
        net.step(x[picked], y[picked], full["lr"])

    def accuracy(*, training):
        return np.mean((net.forward(moved, training=training)[0] > 0) == (y > 0.5))

    expected = {"train_acc": accuracy(training=True), "eval_acc": accuracy(training=False)}
    net.recalibrate(x)
    expected["recalibrated_acc"] = accuracy(training=False)
    net.recalibrate(moved)
    expected["adapted_acc"] = accuracy(training=False)
    metrics = measured("bn_train_eval", **full)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=0.01), name
    assert metrics["gap"] == metrics["train_acc"] - metrics["eval_acc"]
    assert metrics["stale_share"] == pytest.approx((1 - full["momentum"]) ** full["n"])


@pytest.mark.parametrize("seed", range(3))
def test_bn_train_eval_stale_averages(seed):
    """With momentum 0.001 eval mode is bad and recomputing the averages repairs it; with 0.1 it is good."""
    stale = measured("bn_train_eval", seed)
    assert stale["gap"] > 0.1
    assert stale["recalibrated_gain"] > 0.1
    assert stale["recalibrated_acc"] > 0.9
    fresh = measured("bn_train_eval", seed, momentum=0.1)
    assert abs(fresh["gap"]) < 0.05


def test_bn_train_eval_other_data_and_small_batches():
    """Train mode hides shifted data, and their own statistics cure it; with batches of two nothing helps."""
    moved = measured("bn_train_eval", momentum=0.1, shift=2.0)
    assert moved["gap"] > 0.3
    assert moved["recalibrated_gain"] < 0.05
    assert moved["adapted_acc"] > 0.9
    tiny = measured("bn_train_eval", momentum=0.1, n=250, lr=0.03, batch=2)
    assert tiny["recalibrated_acc"] < 0.8
    assert tiny["group_gain"] > 0.1


def test_bn_train_eval_untrained():
    """Without steps there is one row, and all averages have their initial values."""
    rows, metrics = measure("bn_train_eval", n=0)
    assert len(rows) == 1
    assert metrics["stale_share"] == 1
    still = measured("bn_train_eval", lr=0.0, n=20)
    assert still["train_acc"] == metrics["train_acc"]
