"""Tests the experiment pre_post_ln against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


def normal(h):
    return (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)


def loss_of(weights, x, y, before):
    h = x
    for w in weights:
        h = h + np.maximum((normal(h) if before else h) @ w[0], 0) @ w[1]
        h = h if before else normal(h)
    return 0.5 * (((normal(h) if before else h) - y) ** 2).sum(1).mean()


@pytest.mark.parametrize(("layers", "width", "batch"), [(3, 4, 5), (1, 3, 2)])
def test_pre_post_ln_against_differences(layers, width, batch):
    """Every block's gradient equals difference quotients of a loss in numpy."""
    x, y, *raw = draws(0, (batch, width), (batch, width), *[(2, width, width)] * layers)
    weights, step = [w / math.sqrt(width) for w in raw], 1e-6
    metrics = measured("pre_post_ln", layers=layers, width=width, batch=batch)
    for name, before in (("pre", True), ("post", False)):
        norms = []
        for block in weights:
            squares = 0.0
            for at in np.ndindex(block.shape):
                losses = []
                for sign in (1, -1):
                    block[at] += sign * step
                    losses.append(loss_of(weights, x, y, before))
                    block[at] -= sign * step
                squares += ((losses[0] - losses[1]) / (2 * step)) ** 2
            norms.append(math.sqrt(squares))
        assert metrics[f"{name}_first"] == pytest.approx(norms[0], rel=1e-3)
        assert metrics[f"{name}_last"] == pytest.approx(norms[-1], rel=1e-3)
        assert metrics[f"{name}_last_over_first"] == pytest.approx(norms[-1] / norms[0], rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_pre_post_ln_ratio_grows_with_depth(seed):
    """The ratio is about 1 with one block and several times that with fifty, of the order of √L."""
    ratios = [measured("pre_post_ln", seed, layers=layers)["last_ratio"] for layers in (1, 10, 50)]
    assert 0.9 < ratios[0] < 1.1
    assert ratios == sorted(ratios)
    assert 2.5 < ratios[2] < math.sqrt(50)


def test_pre_post_ln_variance_grows_linearly():
    """With Pre-LN each branch adds ½ to the variance (ReLU halves it): 1 + L/2 within the scatter of random weights."""
    for layers in (1, 10, 100):
        metrics = measured("pre_post_ln", layers=layers, width=128)
        assert metrics["pre_variance"] == pytest.approx(metrics["theory_pre_variance"], rel=0.35)


def test_pre_post_ln_rows():
    rows, metrics = measure("pre_post_ln", layers=150)
    assert rows[0]["pre"] == metrics["pre_first"]
    assert rows[-1]["post"] == metrics["post_last"]
    assert rows[-1]["layer"] == 150
