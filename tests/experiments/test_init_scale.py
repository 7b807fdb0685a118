"""Tests the experiment init_scale against reference values computed by independent code."""

import math
from itertools import pairwise

import numpy as np
import pytest
from oracles import draws, measure, measured


def train_by_hand(seed: int, m: float, layers: int, width: int, lr: float, n: int) -> tuple[float, float]:
    """The loss before and after n steps in float64, with a backward pass written by hand."""
    x, *raw = draws(seed, (64, 8), *pairwise([8, *[width] * (layers - 1), 1]))
    y = x[:, :1] * x[:, 1:2]
    weights, losses = [m * math.sqrt(2 / len(w)) * w for w in raw], []
    for _ in range(n + 1):
        z = [x @ weights[0]]
        for w in weights[1:]:
            z.append(np.maximum(z[-1], 0) @ w)
        losses.append(((z[-1] - y) ** 2).mean())
        back, grads = 2 * (z[-1] - y) / len(x), []
        for i in reversed(range(layers)):
            grads.insert(0, (np.maximum(z[i - 1], 0) if i else x).T @ back)
            back = (back @ weights[i].T) * (z[i - 1] > 0) if i else back
        weights = [w - lr * g for w, g in zip(weights, grads, strict=True)]
    return losses[0], losses[-1]


@pytest.mark.parametrize(("m", "layers", "width"), [(1.0, 6, 32), (0.5, 3, 16), (1.2, 4, 32)])
def test_init_scale_losses(m, layers, width):
    """First and last loss equal those of a backward pass written in numpy."""
    start, end = train_by_hand(2, m, layers, width, 0.003, 20)
    metrics = measured("init_scale", 2, scale=m, layers=layers, width=width, lr=0.003, n=20, dtype="float64")
    assert metrics["loss_start"] == pytest.approx(start, rel=1e-5)
    assert metrics["loss_end"] == pytest.approx(end, rel=1e-4)
    assert metrics["loss_ratio"] == pytest.approx(end / start, rel=1e-4)
    assert metrics["halvings"] == 0


@pytest.mark.parametrize(("params", "overflow"), [({}, 2), ({"layers": 50}, 2), ({"lr": 0.001}, 2)])
def test_init_scale_claims(params, overflow):
    """Weights 10 times too large overflow before any update at every rate; small ones make no progress; He's weights
    train.
    """
    rows, metrics = measure("init_scale", **params)
    outcomes = {row["scale"]: row["outcome"] for row in rows}
    assert outcomes[100.0] == outcomes[10.0] == "overflow at the start"
    assert outcomes[0.01] == outcomes[0.1] == "no progress"
    assert outcomes[2.0] == "diverged"
    assert metrics["n_overflow_at_start"] == overflow
    assert metrics["halvings"] is None
    assert metrics["rates_that_stay_finite"] == 0
    assert metrics["small_off_one"] < 0.05
    if params != {"layers": 50}:  # at that depth He's scale trains with some seeds only
        assert outcomes[1.0] == "trained"
        assert metrics["he_ratio"] < 0.95


def test_init_scale_control():
    """With twice He's scale the first loss is finite, and many halvings of the rate keep it finite."""
    metrics = measured("init_scale", scale=2.0)
    assert 30 <= metrics["halvings"] <= 40
    assert metrics["two_halvings"] == metrics["halvings"] == 41 - metrics["rates_that_stay_finite"]
    assert 1e10 < metrics["loss_start"] < 1e15


def test_init_scale_start_follows_theory():
    """The first loss grows as m^(2·layers) where it overflows: from m = 2 to m = 10 by 5^40 in 20 layers."""
    metrics = measured("init_scale", dtype="float64", n=1)
    assert math.log(metrics["ten_loss_start"] / metrics["two_loss_start"]) == pytest.approx(40 * math.log(5), rel=1e-6)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 0.0}, {0.01: "no progress", 1.0: "no progress", 2.0: "no progress", 10.0: "overflow at the start"}),
        ({"layers": 1}, {0.01: "trained", 1.0: "trained", 10.0: "trained", 100.0: "trained"}),
        ({"layers": 200, "n": 10}, {0.01: "no progress", 2.0: "overflow at the start"}),
        ({"lr": 1e308, "n": 5}, {0.01: "diverged", 1.0: "diverged", 2.0: "diverged", 10.0: "overflow at the start"}),
        ({"dtype": "float16", "n": 5}, {10.0: "overflow at the start", 0.1: "no progress"}),
    ],
)
def test_init_scale_edges(params, expected):
    """Tested are rate 0, one layer, 200 layers, an absurdly large rate and half precision."""
    outcomes = {row["scale"]: row["outcome"] for row in measure("init_scale", **params)[0]}
    assert {m: outcomes[m] for m in expected} == expected


def test_init_scale_of_nothing():
    """With weights 0 the loss is the mean square of the target and does not change."""
    metrics = measured("init_scale", scale=0.0, layers=3, n=3)
    x = draws(0, (64, 8))[0]
    assert metrics["loss_start"] == pytest.approx(((x[:, 0] * x[:, 1]) ** 2).mean(), rel=1e-6)
    assert metrics["loss_ratio"] == 1
