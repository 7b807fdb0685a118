"""Tests the experiment resume_run: what is loaded in full goes on to the bit; Adam's first step without moments by its
formula.
"""

import math

import pytest
from oracles import NAN, measure, measured, same


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_complete_state_goes_on_to_the_bit(seed):
    """Every loss and every weight is that of the run that was never interrupted."""
    rows, metrics = measure("resume_run", seed, case="complete")
    assert all(row["resumed"] == row["uninterrupted"] for row in rows)
    assert (metrics["weight_difference"], metrics["first_nan_step"], metrics["bad_state"]) == (0, None, 0)
    assert metrics["jump"] == metrics["uninterrupted_jump"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_missing_makes_the_loss_jump(seed):
    """A missing schedule causes a much larger jump than missing moments, a float16 checkpoint hardly any."""
    jump = {
        case: measured("resume_run", seed, case=case)["jump"]
        for case in ("complete", "float16_weights", "no_moments", "schedule_again", "both")
    }
    assert jump["float16_weights"] == pytest.approx(1, abs=0.02)
    assert jump["complete"] < jump["no_moments"] < 2 < jump["schedule_again"]
    assert jump["both"] > 2


@pytest.mark.parametrize("lr", [1e-6, 0.03, 1.0])
def test_nan_in_a_checkpoint_is_there_at_once(lr):
    """At any rate, nan weights show before the first step and nan moments after it."""
    weights = measured("resume_run", case="nan_weights", lr=lr)
    assert (weights["first_nan_step"], weights["nan_weights"]) == (0, 1)
    moments = measured("resume_run", case="inf_moments", lr=lr)
    assert (moments["first_nan_step"], moments["nan_weights"], moments["bad_state"]) == (1, 0, 2)
    assert same(moments["jump"], NAN)


def test_a_tiny_rate_does_not_jump():
    """The jump is one of the step size, not of the loading."""
    assert math.isclose(measured("resume_run", case="both", lr=1e-6)["jump"], 1, abs_tol=0.01)
