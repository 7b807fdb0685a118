"""Tests the experiment init_train_dist against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import NAN, demo, draws, measured, same

GOOD = ("normal", "uniform", "rademacher", "laplace", "trunc", "sparse10")


def by_hand(x, y, weights, n, lr):
    """Errors relative to E[y²] before each step and after the last, of a ReLU net with biases in numpy."""
    biases, errors = [np.zeros(w.shape[1]) for w in weights], []
    for step in range(n + 1):
        h, zs = [x], []
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            zs.append(h[-1] @ w + b)
            h.append(zs[-1] if i == len(weights) - 1 else np.maximum(zs[-1], 0))
        errors.append(((h[-1] - y) ** 2).mean() / (y**2).mean())
        if step == n:
            return errors
        back = 2 * (h[-1] - y) / len(x)
        for i in reversed(range(len(weights))):
            gw, gb = h[i].T @ back, back.sum(0)
            back = (back @ weights[i].T) * (zs[i - 1] > 0) if i else back
            weights[i], biases[i] = weights[i] - lr * gw, biases[i] - lr * gb
    return errors


def test_init_train_dist_zero_and_constant_weights_by_hand():
    """For the two laws that draw nothing, zeros and constants, a numpy net ends at the same error."""
    (x,) = draws(0, (128, 8))
    y = x[:, :1] * x[:, 1:2]
    sizes = [(8, 64), (64, 64), (64, 64), (64, 64), (64, 1)]
    constant = [np.full(s, math.sqrt((1 if i == 4 else 2) / s[0])) for i, s in enumerate(sizes)]
    metrics = measured("init_train_dist", n=20)
    assert metrics["zero_error"] == pytest.approx(by_hand(x, y, [np.zeros(s) for s in sizes], 20, 0.02)[-1], rel=1e-5)
    assert metrics["constant_start"] == pytest.approx(by_hand(x, y, constant, 0, 0.02)[0], rel=1e-4)
    small = measured("init_train_dist", n=3, lr=1e-8)
    assert small["constant_error"] == pytest.approx(by_hand(x, y, constant, 3, 1e-8)[-1], rel=1e-3)


@pytest.mark.parametrize("law", ["normal", "uniform", "rademacher", "laplace", "trunc", "sparse10", "mean_half"])
def test_init_train_dist_laws(law):
    """Every law has mean square 1, and mean 0 except the one whose name says otherwise."""
    import torch

    torch.manual_seed(1)
    w = demo("init_train_dist").entries(law, 500, 500).double().numpy()
    assert (w**2).mean() == pytest.approx(1, rel=0.03)
    assert w.mean() == pytest.approx(0.5 if law == "mean_half" else 0, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_init_train_dist_claims(seed):
    """Laws with independent weights and finite variance learn; zeros and constants do not, equal rows keep rank 1,
    Cauchy ends in nan or inf.
    """
    metrics = measured("init_train_dist", seed)
    assert max(metrics[f"{law}_error"] for law in GOOD) == metrics["worst_good_error"] < 0.5
    assert metrics["worst_dense_error"] < 0.25
    assert metrics["zero_error"] > 0.95
    assert metrics["zero_change"] == 0
    assert metrics["constant_error"] > 0.95
    assert metrics["constant_rank"] == 1
    assert metrics["normal_rank"] == 64
    assert not math.isfinite(metrics["cauchy_error"])
    assert metrics["good_spread"] == pytest.approx(
        metrics["worst_good_error"] / min(metrics[f"{law}_error"] for law in GOOD)
    )


def test_init_train_dist_edges():
    """With rate 0 and one step nothing is learned; one layer is a linear map, where even zeros and constants train."""
    still = measured("init_train_dist", lr=0.0, n=5)
    assert still["normal_error"] > 0.95
    assert still["constant_error"] == still["constant_start"]
    assert measured("init_train_dist", n=1)["worst_good_error"] > 0.5
    linear = measured("init_train_dist", layers=1)
    assert linear["constant_rank"] is linear["normal_rank"] is None
    assert linear["zero_error"] == pytest.approx(linear["normal_error"], rel=0.01)
    assert linear["zero_change"] > 0
    assert measured("init_train_dist", layers=2)["constant_rank"] is None
    assert same(measured("init_train_dist", 0)["cauchy_error"], NAN)
