"""Tests the experiment pow_gradient against derivatives by difference quotients in exact or 50-digit arithmetic, and
IEEE limits at 0.
"""

import math
from decimal import Decimal, getcontext

import pytest
from oracles import NAN, measure, measured, same

getcontext().prec = 50


def focal(z: Decimal, p: float) -> Decimal:
    """The focal term of a positive sample, from the logit, in 50 digits."""
    s = 1 / (1 + (-z).exp())
    return (Decimal(p) * (1 - s).ln()).exp() * -s.ln()


@pytest.mark.parametrize("p", [0.3, 0.5, 1.5, 2.0])
@pytest.mark.parametrize("z", [-3.0, 0.0, 4.0, 16.0, 25.0])
def test_the_cured_focal_loss_is_exact(z, p):
    """Value and slope, also where 1 − sigmoid is 0 in float32."""
    h = Decimal("1e-12")
    slope = (focal(Decimal(z) + h, p) - focal(Decimal(z) - h, p)) / (2 * h)
    metrics = measured("pow_gradient", case="focal", x=z, p=p)
    assert metrics["cured"] == pytest.approx(float(focal(Decimal(z), p)), rel=1e-4, abs=1e-37)
    assert metrics["cured_slope"] == pytest.approx(float(slope), rel=1e-4, abs=1e-37)


def test_the_limits_at_zero():
    """At 0, powers below 1 have slope inf; the power of a square has nan, as does a negative base; powers from 1 on are
    finite.
    """
    assert measured("pow_gradient", case="power", x=0.0, p=0.3)["naive_slope"] == math.inf
    assert same(measured("pow_gradient", case="square", x=0.0, p=0.3)["naive_slope"], NAN)
    assert same(measured("pow_gradient", case="root", x=-8.0, p=1 / 3)["naive"], NAN)
    assert measured("pow_gradient", case="power", x=0.0, p=1.0)["naive_slope"] == 1
    assert same(measured("pow_gradient", case="focal", x=25.0, p=0.5)["naive_slope"], NAN)
    assert measured("pow_gradient", case="focal", x=25.0, p=2.0)["naive_slope"] == 0


@pytest.mark.parametrize("case", ["power", "square", "root"])
@pytest.mark.parametrize("x", [-8.0, -0.5, 0.0, 0.01, 2.0])
def test_cured_powers_are_finite_and_right(case, x):
    """All slopes are finite, and away from 0 they are that of |x|^p or |x|^(2p)."""
    rows, metrics = measure("pow_gradient", 0, case=case, x=x, p=0.3, eps=1e-6)
    assert metrics["cured_bad_slopes"] == 0
    for row in rows:
        if row["x"] > 2e-3 or (case != "power" and row["x"] < -2e-3):
            power, sign = (0.6, math.copysign(1, row["x"])) if case == "square" else (0.3, 1)
            assert row["cured_slope"] == pytest.approx(sign * power * abs(row["x"]) ** (power - 1), rel=1e-4)


def test_eps_added_to_the_base_leaves_a_steep_slope():
    """The slope is p·eps^(p−1), which is in the thousands."""
    assert measured("pow_gradient", x=0.0, p=0.3)["plus_eps_slope"] == pytest.approx(0.3 * 1e-6**-0.7, rel=1e-4)
