"""Tests the experiment init_width against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import demo, measured


def test_init_width_scatter_in_numpy():
    """The scatter is the standard deviation of ln(out/in) over the same networks, computed one at a time in numpy."""
    import torch

    torch.manual_seed(3)
    inputs = torch.randn(6, 1, 32).double().numpy()[:, 0]
    layers = [torch.randn(6, 32, 32).double().numpy() for _ in range(4)]
    logs = []
    for i, x in enumerate(inputs):
        h = x
        for w in layers:
            h = np.maximum(h @ w[i], 0) * math.sqrt(2 / 32)
        logs.append(math.log((h**2).mean() / (x**2).mean()))
    torch.manual_seed(3)
    found, dead = demo("init_width").scatter(32, 4, 6)
    assert found == pytest.approx(np.std(logs, ddof=1), rel=1e-4)
    assert dead == 0


def test_init_width_theory():
    """To leading order it is √(5·layers/width): within a quarter at width 256, where layers/width is small."""
    scatters = [measured("init_width", seed, trials=100, layers=10)["scatter_256"] for seed in range(4)]
    assert np.mean(scatters) == pytest.approx(math.sqrt(50 / 256), rel=0.25)
    assert measured("init_width", trials=2, width=20)["theory_scatter"] == pytest.approx(math.sqrt(5))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_init_width_claims(seed):
    """The scatter over random weights is large at width 16 and small at 256; theory predicts a factor of four."""
    metrics = measured("init_width", seed)
    assert metrics["scatter"] == metrics["scatter_16"] > 1.5
    assert metrics["scatter_256"] < 1
    assert 2 < metrics["narrow_over_wide"] == metrics["scatter_16"] / metrics["scatter_256"] < 9
    assert metrics["factor"] == pytest.approx(math.exp(metrics["scatter"]))


def test_init_width_edges():
    """With one unit a layer half of the nets die at every layer, so that after twenty nothing can be measured."""
    dead = measured("init_width", width=1)
    assert dead["scatter"] is dead["factor"] is None
    assert dead["dead_share"] == 1
    assert measured("init_width", layers=1, trials=200)["dead_share"] < 0.01
