"""Tests the experiment relu_interp against reference values computed by independent code."""

import math
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from oracles import (
    demo,
    measured,
)

from qa_service.errors import BadParameter


@pytest.mark.parametrize("k", [1, 2, 3, 8, 15, 16, 32, 500, 2000])
@pytest.mark.parametrize(("lo", "hi"), [(0.0, 1.0), (-1.0, 1.0), (-0.5, 2.0)])
def test_relu_interp_error_of_the_square(k, lo, hi):
    """On x² the error is (hi − lo)²/(4k²) exactly, and equals its bound; the rate is −2."""
    metrics = measured("relu_interp", k=k, lo=lo, hi=hi)
    exact = float((Fraction(hi) - Fraction(lo)) ** 2 / (4 * k * k))
    assert metrics["max_err"] == pytest.approx(exact, rel=1e-6)
    assert metrics["theory_max_err"] == pytest.approx(exact, rel=1e-15)
    assert metrics["err_over_theory"] == pytest.approx(1, rel=1e-6)
    assert metrics["rate_slope"] == pytest.approx(-2, abs=1e-9)
    assert metrics["rate_off_two"] < 1e-9


@pytest.mark.parametrize(("target", "d"), [("x^3", 3), ("x^4", 4), ("x^7", 7), ("x^10", 10)])
@pytest.mark.parametrize("k", [1, 8, 16])
def test_relu_interp_error_of_powers(target, d, k):
    """On [0, 1] the error is that of the last chord, whose largest distance from x^d mpmath gives in closed form."""
    left = mpmath.mpf(k - 1) / k
    slope = (1 - left**d) * k
    touch = (slope / d) ** (mpmath.mpf(1) / (d - 1))
    exact = 1 + slope * (touch - 1) - touch**d
    metrics = measured("relu_interp", target=target, k=k)
    assert metrics["max_err"] == pytest.approx(float(exact), rel=1e-5)
    assert metrics["theory_max_err"] == pytest.approx(d * (d - 1) / (8 * k * k))
    assert metrics["max_err"] <= metrics["theory_max_err"]
    assert metrics["err_over_theory"] <= 1


@pytest.mark.parametrize(
    ("target", "f", "lo", "hi"),
    [("sin", np.sin, 0.0, 3.0), ("sqrt", lambda x: np.sqrt(abs(x)), -1.0, 2.0), ("x^5", lambda x: x**5, -1.0, 1.0)],
)
@pytest.mark.parametrize("k", [5, 32])
def test_relu_interp_is_interpolation(target, f, lo, hi, k):
    """The network of ReLUs is the broken line through its knots: numpy's interp has the same largest error."""
    knots, x = np.linspace(lo, hi, k + 1), np.linspace(lo, hi, 200 * k * 12 + 1)
    metrics = measured("relu_interp", target=target, k=k, lo=lo, hi=hi)
    assert metrics["max_err"] == pytest.approx(np.abs(np.interp(x, knots, f(knots)) - f(x)).max(), rel=1e-3)


def test_relu_interp_targets_that_are_not_smooth():
    """√x: the first chord is √h/4 off and the rate −½; |x − ⅓|: 4h/9 off and the rate −1; no bound for either."""
    root, kink = measured("relu_interp", target="sqrt"), measured("relu_interp", target="abs")
    assert root["max_err"] == pytest.approx(math.sqrt(1 / 8) / 4, rel=1e-5)
    assert root["rate_slope"] == pytest.approx(-0.5, abs=1e-3)
    assert kink["max_err"] == pytest.approx(4 / 9 / 8, rel=1e-12)
    assert kink["rate_slope"] == pytest.approx(-1, abs=1e-9)
    for metrics in (root, kink):
        assert metrics["theory_max_err"] is metrics["err_over_theory"] is metrics["theory_pieces_0_001"] is None


@pytest.mark.parametrize("k", [2, 4, 8, 32, 1000, 2000])
def test_relu_interp_sawtooth(k):
    """With m layers of 3 ReLUs x² is reached within 4^−(m+1) exactly; m is the least that makes at least k pieces."""
    metrics = measured("relu_interp", k=k)
    layers = next(m for m in range(1, 20) if 2**m >= k)
    assert (metrics["deep_layers"], metrics["deep_relus"]) == (layers, 3 * layers)
    assert metrics["deep_err"] == metrics["theory_deep_err"] == Fraction(1, 4 ** (layers + 1))
    assert metrics["deep_saving"] == pytest.approx(k / (3 * layers))


def test_relu_interp_deep_error_falls_by_four_per_layer():
    """The chart's sawtooth: each further layer divides the error by 4, until float64 itself ends."""
    errors = [demo("relu_interp").sawtooth_error(layers) for layers in range(25)]
    assert all(deeper == shallower / 4 for shallower, deeper in pairwise(errors))
    assert demo("relu_interp").sawtooth_error(400) < 1e-15


def test_relu_interp_edges():
    """A line has no error and no rate; 16 pieces for 0.001, 15 miss it; slopes of x³ and x^10 as measured."""
    line = measured("relu_interp", target="x^1")
    assert line["max_err"] == pytest.approx(0, abs=1e-15)
    assert line["theory_max_err"] == 0
    assert line["rate_slope"] is line["rate_off_two"] is line["err_over_theory"] is None
    assert measured("relu_interp")["theory_pieces_0_001"] == 16
    assert measured("relu_interp", k=16)["max_err"] < 1e-3 < measured("relu_interp", k=15)["max_err"]
    assert measured("relu_interp", target="x^3")["rate_slope"] == pytest.approx(-1.966, abs=5e-4)
    assert measured("relu_interp", target="x^10", k=16)["rate_slope"] == pytest.approx(-1.933, abs=5e-4)
    assert measured("relu_interp", target="sin", hi=3.14, k=16)["max_err"] == pytest.approx(0.00479, rel=2e-3)
    with pytest.raises(BadParameter):
        measured("relu_interp", lo=1.0, hi=1.0)
