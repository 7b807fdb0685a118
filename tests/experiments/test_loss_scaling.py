"""Tests the experiment loss_scaling against exact rounding."""

from fractions import Fraction

import pytest
from oracles import FORMATS, INF, NAN, measured, same


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(("x", "scale"), [(1e-8, 1024.0), (1e-8, 65536.0), (-3e-7, 128.0), (1e-10, 1.0), (5.0, 8192.0)])
def test_storing_is_exact_rounding(dtype, x, scale):
    """Plain and scaled gradients are the nearest numbers of the format, and division by a power of two is exact."""
    form = FORMATS[dtype]
    metrics = measured("loss_scaling", x=x, scale=scale, dtype=dtype)
    assert Fraction(metrics["plain"]) == form.rounded(Fraction(x))
    kept = form.rounded(Fraction(x * scale))
    assert Fraction(metrics["scaled"]) == kept
    assert Fraction(metrics["recovered"]) == kept / Fraction(scale)
    error = abs(kept / Fraction(scale) - Fraction(x)) / abs(Fraction(x))
    assert metrics["recovered_rel_err"] == pytest.approx(float(error), rel=1e-6, abs=1e-9)
    assert metrics["largest_scale"] == pytest.approx(float(form.largest / abs(Fraction(x))))


def test_scaling_recovers_what_float16_loses():
    """In float16 1e-8 becomes 0, but scaled by 1024 and back it is right within 1 %; bfloat16 does not need scaling."""
    metrics = measured("loss_scaling")
    assert metrics["plain"] == 0
    assert metrics["recovered"] == pytest.approx(1.001e-8, rel=1e-3)
    assert metrics["recovered_rel_err"] < 0.01
    assert measured("loss_scaling", scale=1.0)["recovered_rel_err"] == 1
    assert measured("loss_scaling", dtype="bfloat16")["plain_rel_err"] < 0.01


def test_the_window_moves_and_does_not_widen():
    """Both ends of the usable range move down by the scale; in float16 it keeps about ten decades."""
    metrics = measured("loss_scaling")
    assert metrics["plain_window_low"] / metrics["scaled_window_low"] == pytest.approx(1024, rel=0.3)
    assert metrics["plain_window_high"] / metrics["scaled_window_high"] == pytest.approx(1024, rel=0.3)
    assert 9.5 < metrics["window_decades"] < 11


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"x": 10.0, "scale": 65536.0}, {"scaled": INF, "recovered": INF, "recovered_rel_err": INF}),
        ({"x": 0.0}, {"plain": 0.0, "recovered": 0.0, "plain_rel_err": None, "largest_scale": INF}),
        ({"x": NAN}, {"plain": NAN, "recovered": NAN, "recovered_rel_err": None}),
        ({"x": -INF}, {"plain": -INF, "recovered": -INF, "plain_rel_err": None, "largest_scale": 0.0}),
        ({"x": 1e308}, {"plain": INF, "recovered": INF}),
    ],
)
def test_edges(params, expected):
    """Tested are a scale too large, a gradient of 0, and values that are not finite."""
    metrics = measured("loss_scaling", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name
