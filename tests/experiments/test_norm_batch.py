"""Tests the experiment norm_batch against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("params", [{}, {"batch": 2, "width": 5, "n": 3}, {"batch": 64, "std": 10.0}])
def test_norm_batch_against_numpy(params):
    """The change of row 0 under batch normalisation equals that computed in numpy for the same draws."""
    full = {"batch": 8, "width": 32, "std": 1.0, "n": 20} | params
    shape = (full["batch"] - 1, full["width"])
    sample, *others = draws(0, (1, full["width"]), *[shape] * (full["n"] + 1))
    outputs = []
    for other in others:
        x = np.concatenate([sample, full["std"] * other])
        outputs.append((sample[0] - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))
    changes = [output - outputs[0] for output in outputs]
    metrics = measured("norm_batch", **params)
    assert metrics["batch_change"] == pytest.approx(max(abs(change).max() for change in changes), rel=1e-3)
    squares = [np.mean(change**2) for change in changes]
    assert metrics["bn_rms_change"] == pytest.approx(np.sqrt(sum(squares) / full["n"]), rel=1e-3)


@pytest.mark.parametrize("params", [{}, {"batch": 512}, {"std": 1e6}, {"width": 2}, {"width": 6, "n": 1}])
def test_norm_batch_the_others_do_not_matter(params):
    """Without batch statistics a row's result is the same to the bit whatever the other samples are."""
    metrics = measured("norm_batch", **params)
    for name in ("layer", "group", "rms", "batch_eval"):
        assert metrics[f"{name}_change"] == 0, name
    assert metrics["batch_change"] > 0.1


@pytest.mark.parametrize("norm", ["batch", "batch_eval", "layer", "group", "rms"])
def test_norm_batch_choice(norm):
    """The metric `change` is that of the chosen normalisation; the chart shows all of them."""
    rows, metrics = measure("norm_batch", norm=norm)
    assert metrics["change"] == metrics[f"{norm}_change"]
    assert {row["norm"] for row in rows} == {"batch", "batch_eval", "layer", "group", "rms"}


def test_norm_batch_falls_with_the_batch():
    """A batch sixteen times as large has about a quarter of the change."""
    small, large = (measured("norm_batch", batch=batch, n=100)["bn_rms_change"] for batch in (16, 256))
    assert small / large == pytest.approx(4, rel=0.3)
