"""Tests the experiment saturated_loss against mpmath and a descent written with floats."""

import math

import mpmath
import pytest
from oracles import measured


@pytest.mark.parametrize("x", [-10.0, -5.0, 0.0, 3.0, -100.0, 300.0])
def test_saturated_loss_gradients(x):
    """2(p−1)p(1−p) and p − 1, with forty digits."""
    with mpmath.workdps(200):
        p = 1 / (1 + mpmath.exp(-x))
        mse, ce = float(2 * (p - 1) * p * (1 - p)), float(p - 1)
    metrics = measured("saturated_loss", x=x, n=1)
    for name in ("grad_mse", "theory_grad_mse"):
        assert metrics[name] == pytest.approx(mse, rel=1e-9, abs=1e-40)
    for name in ("grad_ce", "theory_grad_ce"):
        assert metrics[name] == pytest.approx(ce, rel=1e-9)
    if x == -10:
        assert metrics["grad_mse"] == pytest.approx(-9.08e-5, rel=1e-3)
        assert metrics["grad_ce"] == pytest.approx(-0.99995, abs=1e-5)
        assert metrics["ratio"] == pytest.approx(ce / mse, rel=1e-9)


@pytest.mark.parametrize(("x", "lr"), [(-5.0, 1.0), (-3.0, 0.5), (0.0, 1.0)])
def test_saturated_loss_steps(x, lr):
    """The step at which p first exceeds 0.9 is that of the formulas iterated with Python's floats."""
    metrics = measured("saturated_loss", x=x, lr=lr, n=400)
    for name, slope in (("mse", lambda p: 2 * (p - 1) * p * (1 - p)), ("ce", lambda p: p - 1)):
        z, steps = x, 0
        while 1 / (1 + math.exp(-z)) <= 0.9:
            z, steps = z - lr * slope(1 / (1 + math.exp(-z))), steps + 1
        assert metrics[f"steps_{name}"] == steps


def test_saturated_loss_edges():
    """For very wrong answers the squared error's gradient underflows to 0; lr = 0 moves nothing; a right answer needs
    no step.
    """
    far = measured("saturated_loss", x=-300.0)
    assert far["grad_mse"] == pytest.approx(0, abs=1e-100)
    assert far["grad_ce"] == -1
    assert far["steps_mse"] is None
    still = measured("saturated_loss", lr=0.0)
    assert still["p_mse"] == still["p_ce"] == pytest.approx(1 / (1 + math.exp(10)))
    assert measured("saturated_loss", x=300.0)["steps_ce"] == 0
