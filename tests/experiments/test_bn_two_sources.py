"""Tests the experiment bn_two_sources: what each way can know of the source, and the best possible accuracy."""

import math

import pytest
from oracles import measured


@pytest.mark.parametrize("seed", [0, 1])
def test_ways(seed):
    """Normalised separately, two shifted Gaussians cannot be told apart; normalised together, or by LayerNorm, they
    can.
    """
    found = {way: measured("bn_two_sources", seed, way=way) for way in ("separate", "joint", "layer", "own")}
    assert abs(found["separate"]["train"] - 0.5) < 0.05
    assert abs(found["own"]["train"] - 0.5) < 0.05
    for way in ("joint", "layer"):
        assert found[way]["theory_best"] - 0.1 < found[way]["eval"] < found[way]["theory_best"] + 0.03
    assert found["separate"]["loss"] == pytest.approx(math.log(2), abs=0.05)


def test_edges():
    """Without a difference between the sources the accuracy is that of guessing."""
    metrics = measured("bn_two_sources", way="joint", shift=0.0)
    assert metrics["theory_best"] == 0.5
    assert abs(metrics["eval"] - 0.5) < 0.06
