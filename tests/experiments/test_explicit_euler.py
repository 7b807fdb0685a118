"""Tests the experiment explicit_euler against scipy's solver and the stability limits of the methods."""

import math

import numpy as np
import pytest
from oracles import measure, measured
from scipy.integrate import solve_ivp


@pytest.mark.parametrize("rate", [1.0, 50.0])
def test_the_exact_solution_agrees_with_scipy(rate):
    rows, _ = measure("explicit_euler", rate=rate, h=0.01)
    times = [row["t"] for row in rows]
    found = solve_ivp(lambda t, x: -rate * (x - math.cos(t)), (0, 4), [0.0], "Radau", times, rtol=1e-9, atol=1e-10)
    assert np.allclose([row["exact"] for row in rows], found.y[0], atol=1e-6)


@pytest.mark.parametrize(("method", "limit"), [("euler", 2.0), ("rk4", 2.7853)])
def test_limits_of_stability(method, limit):
    """A step just below the limit stays bounded and one just above grows; λ = 1000 makes the growth visible."""
    for factor, stable in ((0.95, True), (1.05, False)):
        metrics = measured("explicit_euler", rate=1000.0, h=factor * limit / 1000, time=1.0)
        assert (metrics[method] < 1) is stable
        assert metrics["implicit"] < 0.01


def test_the_factor_of_a_step():
    """Far from the solution, each step multiplies the error by 1 − hλ."""
    rows, metrics = measure("explicit_euler")
    errors = [row["euler"] - row["exact"] for row in rows]
    assert errors[60] / errors[59] == pytest.approx(metrics["factor"], rel=1e-3)
    assert metrics["factor"] == pytest.approx(-1.5)
    assert (metrics["steps"], metrics["needed"]) == (80, 100)


def test_order_four():
    """Halving the step reduces the Runge–Kutta error to a sixteenth, and the other methods' to a half."""
    coarse, fine = (measured("explicit_euler", rate=2.0, h=h) for h in (0.1, 0.05))
    assert coarse["rk4"] / fine["rk4"] == pytest.approx(16, rel=0.2)
    for name in ("euler", "implicit"):
        assert coarse[name] / fine[name] == pytest.approx(2, rel=0.1)
