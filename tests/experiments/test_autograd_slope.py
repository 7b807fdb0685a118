"""Tests the experiment autograd_slope against mpmath and what IEEE 754 says."""

import mpmath
import pytest
from oracles import FORMATS, measured

CASES = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh": mpmath.tanh,
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
}


@pytest.mark.parametrize("act", CASES)
@pytest.mark.parametrize("x", [-3.0, -0.5, 0.0, 1.25, 10.0])
def test_autograd_slope_of_smooth_functions(act, x):
    """Value and slope are those of mpmath's numerical derivative, and the slopes from left and right agree."""
    metrics = measured("autograd_slope", act=act, x=x)
    assert metrics["value"] == pytest.approx(float(CASES[act](mpmath.mpf(x))), rel=1e-12, abs=1e-15)
    assert metrics["slope"] == pytest.approx(float(mpmath.diff(CASES[act], x)), rel=1e-9, abs=1e-12)
    assert metrics["slope"] == metrics["slope_float64"]
    assert metrics["kink"] < 1e-5


@pytest.mark.parametrize(
    ("act", "x", "slope", "left", "right"),
    [("relu", 0.0, 0, 0, 1), ("abs", 0.0, 0, -1, 1), ("leaky", 0.0, 0.01, 0.01, 1), ("relu", -2.0, 0, 0, 0),
     ("round", 0.3, 0, 0, 0), ("round_ste", 0.3, 1, 0, 0), ("step", 1.0, 0, 0, 0), ("hardsigmoid", 5.0, 0, 0, 0)],
)  # fmt: skip
def test_autograd_slope_at_kinks(act, x, slope, left, right):
    """At a kink autograd returns one subgradient; flat functions have slope 0; straight-through estimators return 1."""
    metrics = measured("autograd_slope", act=act, x=x)
    assert metrics["slope"] == slope
    assert (metrics["left_slope"], metrics["right_slope"]) == pytest.approx((left, right), abs=1e-9)
    assert metrics["zero_share"] == {"round": 1, "step": 1, "round_ste": 0, "leaky": 0}.get(act, metrics["zero_share"])


@pytest.mark.parametrize("layers", [1, 10, 50])
def test_autograd_slope_of_sigmoid_over_layers(layers):
    """The largest slope of a sigmoid is ¼, at 0; over L layers it is 4^−L."""
    metrics = measured("autograd_slope", layers=layers)
    assert (metrics["max_slope"], metrics["max_slope_at"]) == (0.25, 0)
    assert metrics["left_after_layers"] == 0.25**layers
    assert measured("autograd_slope", act="tanh", layers=layers)["left_after_layers"] == 1


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("x", [2.0, 7.0, 10.0, 18.0, 38.0])
def test_autograd_slope_of_saturated_sigmoid(dtype, x):
    """The slope is 0 exactly where σ rounds to 1; for large negative inputs σ and the slope are small but not 0."""
    one = FORMATS[dtype].rounded(1 - _fraction(1 / (1 + mpmath.exp(x)))) == 1
    metrics = measured("autograd_slope", x=x, dtype=dtype)
    assert (metrics["slope"] == 0) == one
    assert metrics["slope_float64"] > 0 or x == 38
    if x == 10:
        assert one == (dtype in ("float16", "bfloat16"))
        assert measured("autograd_slope", x=-x, dtype=dtype)["slope"] > 0


def _fraction(value):
    from fractions import Fraction

    mantissa, exponent = mpmath.frexp(value)
    return Fraction(int(mpmath.ldexp(mantissa, 53)), 2**53) * Fraction(2) ** int(exponent)
