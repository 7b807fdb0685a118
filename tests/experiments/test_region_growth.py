"""Tests the experiment region_growth against kinks counted exactly and the power of two."""

import math

import numpy as np
import pytest
import torch
from oracles import measure, measured

from qa_service.errors import BadParameter


def test_region_growth_sawtooth():
    """A net of 2m units has exactly 2^m linear pieces, for every m."""
    rows, metrics = measure("region_growth", layers=12, width=2)
    assert [row["sawtooth"] for row in rows] == [2**m for m in range(1, 13)]
    assert metrics["theory_sawtooth"] == 4096
    assert metrics["units_sawtooth"] == 24


@pytest.mark.parametrize(("layers", "width"), [(1, 16), (3, 16), (5, 8)])
def test_region_growth_shallow_is_its_kinks(layers, width):
    """With one hidden layer there is one piece more than kinks −b/w in (−3, 3); two in one grid cell count once."""
    torch.manual_seed(0)
    for i in range(layers):
        torch.randn(1 if i == 0 else width, width, dtype=torch.float64), torch.randn(width, dtype=torch.float64)
    w, b = (torch.randn(layers * width, dtype=torch.float64).numpy() for _ in range(2))
    kinks = -b / (w * 1.4142)
    cells = np.unique(np.floor((kinks[np.abs(kinks) < 3] + 3) / 6 * 16384))
    assert measured("region_growth", layers=layers, width=width)["shallow_random"] == len(cells) + 1


@pytest.mark.parametrize("seed", range(3))
def test_region_growth_depth_alone_is_not_exponential(seed):
    """Random deep and shallow nets have similar numbers of pieces; the constructed net has more than both only if it is
    deep.
    """
    metrics = measured("region_growth", seed, layers=10)
    assert 0.4 < metrics["deep_over_shallow"] < 1.5
    assert metrics["deep_random"] < metrics["units_random"]
    assert metrics["sawtooth_over_deep"] > 3
    assert measured("region_growth", seed)["sawtooth_over_deep"] < 1
    assert math.log2(metrics["sawtooth"]) == 10


def test_region_growth_edges():
    """One layer: a theorem bounds it; a limit on layers·width refuses the largest of both."""
    assert measured("region_growth", layers=1, width=64)["deep_random"] <= 65
    with pytest.raises(BadParameter):
        measured("region_growth", layers=12, width=64)
