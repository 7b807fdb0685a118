"""Tests the experiment adaptive_step against closed solutions and SciPy's RK45, which is the same pair."""

import math

import numpy as np
import pytest
from oracles import measured
from scipy.integrate import solve_ivp


@pytest.mark.parametrize("tolerance", [1e-9, 1e-6, 1e-3])
def test_blow_up_ends_at_its_time(tolerance):
    metrics = measured("adaptive_step", rate=0.8, tolerance=tolerance)
    assert metrics["finished"] == 0
    assert metrics["reached"] == pytest.approx(1.25, abs=max(1e-4, 10 * tolerance))
    assert metrics["last_dt"] < 1e-14
    assert metrics["largest"] > 1e12
    assert metrics["singular"] == pytest.approx(1.25)


@pytest.mark.parametrize(("rate", "t_end"), [(1.0, 0.9), (0.4, 2.0)])
def test_before_the_blow_up_it_is_right(rate, t_end):
    metrics = measured("adaptive_step", rate=rate, t_end=t_end, tolerance=1e-8)
    assert metrics["finished"] == 1
    assert metrics["largest"] == pytest.approx(1 / (1 - rate * t_end), rel=1e-6)
    assert metrics["fixed"] == pytest.approx(1 / (1 - rate * t_end), rel=1e-3)


def test_root_turns_nan_where_it_is_empty():
    metrics = measured("adaptive_step", kind="root", t_end=3.0)
    assert metrics["finished"] == 0 and math.isnan(metrics["last_dt"]) and math.isnan(metrics["fixed"])
    assert metrics["reached"] == pytest.approx(2, abs=0.02)
    assert measured("adaptive_step", kind="root", t_end=1.5)["fixed"] == pytest.approx((1 - 0.75) ** 2, rel=1e-4)


def test_stiff_needs_steps_like_scipy_and_finishes():
    metrics = measured("adaptive_step", kind="stiff", rate=200.0, t_end=5.0, tolerance=1e-5)
    ours = solve_ivp(lambda t, y: -200 * (y - np.cos(t)), (0, 5), [1.0], method="RK45", rtol=1e-5, atol=1e-9)
    assert metrics["finished"] == 1
    assert metrics["trials"] == pytest.approx(ours.nfev / 6, rel=0.25)
    assert measured("adaptive_step", kind="stiff", rate=1000.0)["fixed"] != pytest.approx(math.cos(2), abs=1)
