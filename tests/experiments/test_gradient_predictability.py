"""Tests the experiment gradient_predictability against a backward pass by hand. It has no claim: what it shows is
open.
"""

import math

import numpy as np
import pytest
from oracles import demo, measured, rms_norm


def test_two_steps_of_the_plain_net_by_hand():
    """Cosine and relative change of the whole gradient over one step of a net with one hidden layer, in numpy."""
    import torch

    metrics = measured("gradient_predictability", layers=1, width=6, n=1, lr=0.7)
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    y = (x.pow(2).sum(1) > 2 * math.log(2)).double().numpy()
    first, last = torch.nn.Linear(2, 6), torch.nn.Linear(6, 1)
    for layer in (first, last):
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    x = x.double().numpy()
    weights = [first.weight.detach().double().numpy(), np.zeros(6), last.weight.detach().double().numpy(), np.zeros(1)]

    def gradient(w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray) -> list[np.ndarray]:
        z = x @ w1.T + b1
        h = np.maximum(z, 0)
        back = ((1 / (1 + np.exp(-(h @ w2.T + b2)[:, 0])) - y) / len(x))[:, None]
        inner = (back @ w2) * (z > 0)
        return [inner.T @ x, inner.sum(0), back.T @ h, back.sum(0)]

    before = gradient(*weights)
    after = gradient(*(w - 0.7 * g for w, g in zip(weights, before, strict=True)))
    a, b = (np.concatenate([g.ravel() for g in grads]) for grads in (before, after))
    assert metrics["plain_cos"] == pytest.approx(a @ b / rms_norm(a) / rms_norm(b), rel=1e-3)
    assert metrics["plain_change"] == pytest.approx(rms_norm(b - a) / rms_norm(a), rel=1e-3)


def test_no_step_no_change():
    """At rate 0 the gradient predicts itself, in both nets."""
    metrics = measured("gradient_predictability", lr=0.0, n=12)
    for net in ("plain", "bn"):
        assert metrics[f"{net}_cos"] == pytest.approx(1, abs=1e-9)
        assert metrics[f"{net}_change"] == 0
        assert metrics[f"{net}_range"] > 0


def test_what_is_measured_does_not_settle_it():
    """The sign of the difference depends on the seed, so that the experiment supports no verdict."""
    found = [measured("gradient_predictability", seed) for seed in range(3)]
    assert all(-1 <= run[f"{net}_cos"] <= 1 for run in found for net in ("plain", "bn"))
    assert all(run["bn_minus_plain_cos"] == pytest.approx(run["bn_cos"] - run["plain_cos"], abs=1e-12) for run in found)


def test_moving_along_the_gradient():
    """The range of the loss is measured on copies, so that the net itself does not change."""
    import torch

    module = demo("gradient_predictability")
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    y = (x[:, 0] > 0).float()
    net = module.network([torch.nn.Linear(2, 4), torch.nn.Linear(4, 1)], True)
    before = [p.clone() for p in net.parameters()]
    assert module.loss_range(net, module.gradient(net, x, y), x, y) > 0
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
