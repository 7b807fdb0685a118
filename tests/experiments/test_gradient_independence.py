"""Tests the experiment gradient_independence against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize("readout", ["independent", "output"])
def test_gradient_independence_by_hand(readout):
    """The same draws in numpy give the same ratios, with a backward pass by transposed and by fresh matrices."""
    layers, width = 4, 24
    shapes = [(32, width), *[(width, width)] * layers, *([(32, width)] if readout == "independent" else [])]
    x, *drawn = draws(0, *shapes, *[(width, width)] * layers)
    std = np.sqrt(2 / width)
    weights, fresh = [std * w for w in drawn[:layers]], [std * w for w in drawn[-layers:]]
    h, masks = x, []
    for w in weights:
        z = h @ w
        masks.append(z > 0)
        h = np.maximum(z, 0)
    ends = {"same": weights, "fresh": fresh}
    for name, matrices in ends.items():
        g = drawn[layers] if readout == "independent" else h
        for w, mask in zip(reversed(matrices), reversed(masks), strict=True):
            g = (g * mask) @ w.T
        ends[name] = np.linalg.norm(g)
    metrics = measured("gradient_independence", layers=layers, width=width, readout=readout)
    assert metrics["same_norm"] == pytest.approx(ends["same"], rel=1e-4)
    assert metrics["fresh_norm"] == pytest.approx(ends["fresh"], rel=1e-4)
    assert metrics["ratio"] == pytest.approx(ends["same"] / ends["fresh"], rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_independence_claims(seed):
    """The ratio is within a quarter for an independent read-out, and far off where the gradient is the output
    itself.
    """
    assert measured("gradient_independence", seed)["distance"] < 0.25
    assert measured("gradient_independence", seed, readout="output")["ratio"] > 1.5


def test_gradient_independence_edges():
    """A net of width 1 is soon dead: a gradient of 0 has no ratio."""
    dead = measured("gradient_independence", width=1, layers=50)
    assert dead["same_norm"] == dead["fresh_norm"] == 0
    assert dead["ratio"] is dead["distance"] is None
