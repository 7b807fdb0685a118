"""Tests the experiment he_spread against numpy in float64 with a backward pass by hand."""

import math

import numpy as np
import pytest
import torch
from oracles import measure, measured

from qa_service.errors import BadParameter


@pytest.mark.parametrize(("layers", "width", "batch"), [(1, 8, 4), (5, 16, 3), (30, 12, 2)])
def test_he_spread_by_hand(layers, width, batch):
    """Every ratio, and the spread of its logarithm, equals that of numpy for the same draws."""
    rows, metrics = measure("he_spread", layers=layers, width=width, batch=batch, n=5)
    torch.manual_seed(0)
    ratios = []
    for _ in range(5):
        h, passed = torch.randn(batch, width).double().numpy(), []
        for _ in range(layers):
            w = torch.randn(width, width).double().numpy() * math.sqrt(2 / width)
            z = h @ w
            h = np.maximum(z, 0)
            passed.append((w, z > 0))
        back = last = np.tile(torch.randn(width, 1).double().numpy().T, (batch, 1))
        for w, on in reversed(passed):
            back = (back * on) @ w.T
        ratios.append(np.linalg.norm(back) / np.linalg.norm(last))
    assert [row["ratio"] for row in rows] == pytest.approx(ratios, rel=1e-3, abs=1e-30)
    alive = [ratio for ratio in ratios if ratio > 0]
    assert metrics["spread"] == pytest.approx(np.std(np.log10(alive)), rel=1e-3)
    assert metrics["middle"] == pytest.approx(np.median(ratios), rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_he_spread_shrinks_with_width(seed):
    """The spread exceeds 0.3 orders of magnitude at width 32 and is less at 256 or over few layers; theory for one
    sample lies above.
    """
    narrow, wide = measured("he_spread", seed), measured("he_spread", seed, width=256)
    assert narrow["spread"] > 0.3 > wide["spread"]
    assert measured("he_spread", seed, layers=2)["spread"] < 0.1
    assert narrow["theory_spread"] == pytest.approx(math.sqrt(5 * 50 / 32) / 2 / math.log(10), rel=1e-12)
    assert measured("he_spread", seed, batch=1, n=100)["spread"] == pytest.approx(narrow["theory_spread"], rel=0.35)


def test_he_spread_edges():
    """Nets of width two die within 50 layers; a run that is too large is refused."""
    dead = measured("he_spread", width=2)
    assert dead["dead_share"] == 1
    assert dead["spread"] is dead["largest_over_smallest"] is None
    with pytest.raises(BadParameter):
        measured("he_spread", width=256, layers=100, n=100)
