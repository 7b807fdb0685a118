"""Tests the experiment gan_step against the same rounds in numpy, float64, with gradients and Adam written by hand."""

import math

import numpy as np
import pytest
import torch
from oracles import measure, measured


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def start(seed: int, distance: float):
    """The points and initial weights: A, b of the generator, then those of the discriminator."""
    torch.manual_seed(seed)
    real, z = torch.randn(256, 2), torch.randn(256, 2)
    torch.nn.Linear(2, 2)
    first, second = torch.nn.Linear(2, 16), torch.nn.Linear(16, 1)
    d = [p.detach().double().numpy() for p in (*first.parameters(), *second.parameters())]
    return real.double().numpy(), z.double().numpy(), [np.eye(2), np.array([distance, 0.0])], d


def judge(d, x):
    """The discriminator's logits, and the intermediate values that backward needs."""
    h = x @ d[0].T + d[1]
    return (np.where(h > 0, h, 0.2 * h) @ d[2].T + d[3])[:, 0], h


def backward(d, x, h, slope):
    """Gradients of D's weights and of x for a gradient `slope` of the logits."""
    active = np.where(h > 0, h, 0.2 * h)
    down = slope[:, None] * d[2] * np.where(h > 0, 1.0, 0.2)
    return [down.T @ x, down.sum(0), (slope[:, None] * active).sum(0)[None], slope.sum(keepdims=True)], down @ d[0]


def adam(weights, gradients, state, rate):
    state["t"] = state.get("t", 0) + 1
    for k, (w, g) in enumerate(zip(weights, gradients, strict=True)):
        m, v = state.get(k, (0 * g, 0 * g))
        m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g * g
        state[k] = m, v
        root = np.sqrt(v / (1 - 0.999 ** state["t"])) + 1e-8
        np.subtract(w, rate * (m / (1 - 0.5 ** state["t"])) / root, out=w)


def rounds(seed, fault, n, lr, ratio):
    real, z, g, d = start(seed, 3.0)
    g, d = [w.copy() for w in g], [w.copy() for w in d]
    left = [np.zeros_like(w) for w in d]
    states = {}, {}
    for _ in range(n):
        fake = z @ g[0].T + g[1]
        (r, hr), (f, hf) = judge(d, real), judge(d, fake)
        loss_d = np.logaddexp(0, -r).mean() + np.logaddexp(0, f).mean()
        one, _ = backward(d, real, hr, -sigmoid(-r) / 256)
        two, _ = backward(d, fake, hf, sigmoid(f) / 256)
        adam(d, [a + b + (c if fault == "stale" else 0) for a, b, c in zip(one, two, left, strict=True)], states[0], lr)
        f, hf = judge(d, fake)
        loss_g = np.logaddexp(0, -f).mean()
        left, down = backward(d, fake, hf, -sigmoid(-f) / 256)
        held, gradients = list(g), [down.T @ z, down.sum(0)]
        if fault == "shared":
            held, gradients = held + d, gradients + left
        adam(held, gradients, states[1], lr * ratio)
    return loss_d, loss_g


@pytest.mark.parametrize("fault", ["none", "undetached", "shared", "stale"])
def test_the_rounds(fault):
    rows, _ = measure("gan_step", 3, fault=fault, n=12, lr=0.01, ratio=2.0)
    loss_d, loss_g = rounds(3, fault, 12, 0.01, 2.0)
    assert rows[-1]["loss_d"] == pytest.approx(loss_d, rel=2e-3)
    assert rows[-1]["loss_g"] == pytest.approx(loss_g, rel=2e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_left_over_make_d_answer_two_thirds(seed):
    metrics = measured("gan_step", seed, fault="stale", ratio=1.0, lr=0.01)
    assert metrics["theory_g"] == pytest.approx(-math.log(2 / 3))
    assert metrics["theory_d"] == pytest.approx(-math.log(2 / 3) - math.log(1 / 3))
    assert metrics["loss_g_end"] == pytest.approx(metrics["theory_g"], abs=0.03)
    assert metrics["loss_d_end"] == pytest.approx(metrics["theory_d"], abs=0.05)
    assert metrics["fake_end"] == pytest.approx(2 / 3, abs=0.02)


def test_without_detach_nothing_changes():
    """G's gradients from D's loss are cleared before its own backward pass."""
    assert measured("gan_step", fault="undetached", n=50) == pytest.approx(measured("gan_step", fault="none", n=50))


def test_a_step_of_adam_moves_d_by_its_rate_or_not_at_all():
    """Adam's first step has the size of the rate, whatever the gradient."""
    for fault, moved in (("none", 0), ("stale", 0), ("shared", 0.01)):
        assert measured("gan_step", fault=fault, n=10)["d_moved"] == pytest.approx(moved, rel=1e-3)
