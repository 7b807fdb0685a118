"""Tests the experiment epoch_staircase against theory: what a sample's visit takes away, and the excess loss of LMS on
the shared inputs.
"""

import pytest
from oracles import measure, measured


@pytest.mark.parametrize(("lr", "memory"), [(0.2, 2.0), (0.1, 2.0), (0.05, 8.0), (0.2, 0.5)])
def test_the_drop_is_what_a_visit_takes_away(lr, memory):
    """The drop of the loss between epochs equals the part of a sample's loss that one visit of the sample removes."""
    drops = [measured("epoch_staircase", seed, lr=lr, memory=memory)["drop"] for seed in range(6)]
    expected = (1 - lr * memory) ** 2
    assert measured("epoch_staircase", lr=lr, memory=memory)["theory_drop"] == pytest.approx(expected)
    assert sum(drops) / 6 == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("settings", [{"memory": 0.0}, {"order": "fresh"}, {"order": "replacement"}])
def test_no_stairs_without_memory_or_without_epochs(settings):
    drops = [measured("epoch_staircase", seed, **settings)["drop"] for seed in range(6)]
    assert sum(drops) / 6 == pytest.approx(1, abs=0.15)


def test_what_is_learned_without_noise_is_the_shared_part():
    metrics = measured("epoch_staircase", noise=0.0, memory=0.0)
    assert metrics["evaluation_end"] < 1e-3
    assert metrics["within"] < 0.05


def test_evaluation_does_not_see_the_memory():
    """The evaluation loss is the label noise of 1 plus the excess of LMS, lr/(2 − lr·…) of it, a few per cent, equal in
    each epoch.
    """
    metrics = measured("epoch_staircase", lr=0.05)
    assert 0.9 < metrics["evaluation_end"] < 1.15
    assert metrics["evaluation_end"] == pytest.approx(metrics["evaluation_first"], abs=0.1)


def test_a_running_mean_steps_down_without_memory():
    rows, metrics = measure("epoch_staircase", memory=0.0, log="running", noise=0.2, lr=0.05)
    assert metrics["drop"] < 0.8
    assert len(rows) == 60 and rows[-1]["epoch"] == 3
