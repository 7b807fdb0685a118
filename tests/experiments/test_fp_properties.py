"""Tests the experiment fp_properties against reference values computed by independent code."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from oracles import (
    FORMATS,
    INF,
    measure,
    measured,
)


@pytest.mark.parametrize("dtype", FORMATS)
def test_fp_properties_follow_from_p_and_emax(dtype):
    """The whole table of machine numbers follows from p and emax of the format, in exact rationals."""
    form, metrics = FORMATS[dtype], measured("fp_properties", dtype=dtype)
    assert metrics["significand_bits"] == form.p
    assert metrics["eps"] == Fraction(2) ** (1 - form.p)
    assert metrics["max"] == form.largest
    assert metrics["smallest_normal"] == form.smallest_normal
    assert metrics["smallest_subnormal"] == form.smallest
    assert metrics["first_lost_integer"] == 2**form.p + 1
    assert metrics["decimal_digits"] == pytest.approx(float(form.p * mpmath.log10(2)), rel=1e-14)
    pi = Fraction(int(mpmath.pi * 2**50), 2**50)
    for name, number in {
        "0p1": Fraction(1, 10),
        "pi": pi,
        "70000": Fraction(70000),
        "1e_8": Fraction(1, 10**8),
    }.items():
        kept = form.rounded(Fraction(float(number)))
        assert metrics[f"stored_{name}"] == (INF if kept is None else kept), name


@pytest.mark.parametrize("dtype", FORMATS)
def test_fp_properties_overflow_of_exp_and_square(dtype):
    """At the stored number that was found the function is below the overflow threshold; at the next number it is
    not.
    """
    form, metrics = FORMATS[dtype], measured("fp_properties", dtype=dtype)
    with mpmath.workdps(40):
        limit = mpmath.mpf(form.overflow.numerator) / form.overflow.denominator
        for name, f in {"exp": mpmath.exp, "square": lambda x: x * x}.items():
            last = form.rounded(Fraction(metrics[f"{name}_overflow_x"]))
            unit = Fraction(2) ** (math.frexp(last)[1] - form.p)
            below, above = (mpmath.mpf(x.numerator) / x.denominator for x in (last, last + unit))
            assert f(below) < limit <= f(above), name
        top = mpmath.mpf(int(form.largest))
        assert metrics["theory_exp_overflow_x"] == pytest.approx(float(mpmath.log(top)), rel=1e-14)
        assert metrics["theory_square_overflow_x"] == pytest.approx(float(mpmath.sqrt(top)), rel=1e-14)
    assert metrics["exp_overflow_x"] == pytest.approx(metrics["theory_exp_overflow_x"], rel=3 * 2.0**-form.p)


@pytest.mark.parametrize("dtype", FORMATS)
def test_fp_properties_chart_is_exact_rounding(dtype):
    """Each point of the chart is the worst relative error of its eight fractions, recomputed with exact rationals."""
    form = FORMATS[dtype]
    rows = measure("fp_properties", dtype=dtype)[0]
    assert len(rows) == 193
    for row in rows[::6]:
        errors = []
        for part in range(1, 9):
            number = Fraction(row["size"]) * (1 + Fraction(part, 37))
            kept = form.rounded(Fraction(float(number)))
            errors.append(INF if kept is None else float(abs(kept - number) / number))
        assert row["rel_err"] == pytest.approx(max(errors), rel=1e-9)
        assert row["half_eps"] == 2.0**-form.p
        if form.smallest_normal < row["size"] < form.largest / 2:
            assert row["rel_err"] <= row["half_eps"] * (1 + 1e-9)


def test_fp_properties_computations_of_float16():
    """Examples: π and 1.001 − 1 have three digits, a softmax is nan, a variance is 0, and Adam's eps is 0."""
    metrics = measured("fp_properties")
    assert metrics["one_plus_0p001_minus_1"] == 2.0**-10
    assert metrics["cancellation_rel_err"] == pytest.approx(abs(2.0**-10 - 1e-3) / 1e-3)
    assert metrics["stored_pi"] == 3.140625
    assert math.isnan(metrics["softmax_naive"])
    assert metrics["softmax_stable"] == np.float16(1) / (np.float16(1) + np.exp(np.float16(-10)))
    assert (metrics["variance_naive"], metrics["variance_two_pass"]) == (0, 1)
    assert math.isnan(metrics["adam_step_at_zero_gradient"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_fp_properties_computations_of_wider_formats(dtype):
    """A wider range keeps the softmax and Adam; only more bits keep the variance and the small difference."""
    metrics = measured("fp_properties", dtype=dtype)
    exact = mpmath.exp(20) / (mpmath.exp(20) + mpmath.exp(10) + 1)
    assert metrics["softmax_naive"] == pytest.approx(float(exact), rel=2.0 ** (1 - FORMATS[dtype].p))
    assert metrics["adam_step_at_zero_gradient"] == 0
    assert metrics["variance_two_pass"] == 1
    lost = dtype == "bfloat16"
    assert metrics["variance_naive"] == (0 if lost else 1)
    assert metrics["one_plus_0p001_minus_1"] == (0 if lost else pytest.approx(1e-3, rel=1e-4))
    assert metrics["cancellation_rel_err"] == (1 if lost else pytest.approx(0, abs=1e-4))
