"""Tests the experiment relu_regions against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import (
    draws,
    measured,
)

from qa_service.errors import BadParameter


@pytest.mark.parametrize(("width", "seed"), [(1, 0), (1, 1), (8, 0), (8, 1), (32, 0), (32, 1), (32, 2), (1000, 0)])
def test_relu_regions_are_the_kinks(width, seed):
    """A net with one hidden layer bends only at −b/w, so its pieces can be counted from the weights."""
    weight, bias, read_out = draws(seed, (1, width), (width,), (width,), double=True)
    weight, read_out = weight[0] * math.sqrt(2), read_out * math.sqrt(2 / width)
    kinks = -bias / weight
    step = 6 / 20000
    cells = set(np.floor((kinks[(kinks > -3) & (kinks < 3)] + 3) / step).astype(int))
    metrics = measured("relu_regions", seed, width=width)
    assert abs(metrics["regions"] - 1 - len(cells)) <= (0 if width <= 32 else 1)
    assert metrics["regions"] <= metrics["theory_max_regions"] == width + 1
    assert metrics["max_dev_from_line"] < 1e-12
    x = np.linspace(-3, 3, 20001)[:, None]
    output = np.maximum(x * weight + bias, 0) @ read_out
    assert metrics["output_range"] == pytest.approx(np.ptp(output), rel=1e-12)
    assert metrics["regions_per_neuron"] == metrics["regions"] / width


@pytest.mark.parametrize("params", [{"layers": 3}, {"layers": 5, "width": 16}, {"act": "leaky"}])
def test_relu_regions_are_straight_at_any_depth(params):
    """Deeper nets and leaky ReLUs are broken lines to the last digits too; only one layer has the bound."""
    metrics = measured("relu_regions", **params)
    assert metrics["max_dev_from_line"] < 1e-12
    assert (metrics["theory_max_regions"] is None) is ("layers" in params)
    assert metrics["neurons"] == params.get("width", 32) * params.get("layers", 1)


def test_relu_regions_control():
    """As a control, a tanh net is curved within what would be its pieces."""
    assert measured("relu_regions", act="tanh")["max_dev_from_line"] > 1e-3
    with pytest.raises(BadParameter):
        measured("relu_regions", lo=1.0, hi=-1.0)
