"""Tests the experiment ieee_table against reference values computed by independent code."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from oracles import (
    FORMATS,
    INF,
    NAN,
    demo,
    measure,
    measured,
    same,
)

ALWAYS = {  # what does not depend on x or the format
    "zero_over_0": NAN, "inf_minus_inf": NAN, "zero_times_inf": NAN, "inf_over_inf": NAN, "log_0": -INF,
    "log_minus_1": NAN, "sqrt_minus_1": NAN, "minus_1_to_half": NAN, "exp_big": INF, "twice_max": INF,
    "softmax_naive": NAN, "softmax_stable": 1.0, "zero_to_0": 1.0, "grad_sqrt": INF, "grad_sqrt_square": NAN,
    "grad_t_log_t": NAN, "grad_where_log": NAN, "grad_abs": 0.0,
}  # fmt: skip
WITH_DIVISION = {
    "x_over_0", "zero_over_0", "inf_over_inf", "x_over_inf", "softmax_naive", "softmax_stable",
    "grad_sqrt", "grad_sqrt_square", "grad_t_log_t", "grad_where_log",
}  # fmt: skip


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("x", [1.0, -1.5, 0.0, NAN, INF, -INF, 1e308, 1e-45, 1e-8, 65519.99, 65520.0, -3e38])
def test_ieee_table_follows_ieee_754(x, dtype):
    """Every entry follows from the standard for the number as the format stores it, and the counts follow from the
    entries.
    """
    stored = x
    if math.isfinite(x):
        kept = FORMATS[dtype].rounded(Fraction(x))
        stored = math.copysign(INF if kept is None else float(kept), x)
    with np.errstate(all="ignore"):
        own = np.float64(stored)
        expected = ALWAYS | {"x_over_0": own / 0.0, "x_over_inf": own / INF, "x_minus_inf": own - INF}
    rows, metrics = measure("ieee_table", x=x, dtype=dtype)
    assert same(metrics["stored_x"], stored)
    for name, value in expected.items():
        assert same(metrics[name], float(value)), name
    nans = {name for name, value in expected.items() if math.isnan(value)}
    assert metrics["n_nan"] == len(nans)
    assert metrics["n_inf"] == sum(math.isinf(value) for value in expected.values())
    assert metrics["n_nan_without_division"] == len(nans - WITH_DIVISION)
    kinds = {"nan": math.isnan, "inf": math.isinf, "finite": math.isfinite}
    assert len(rows) == 21
    assert all(kinds[row["kind"]](row["value"]) for row in rows)


@pytest.mark.parametrize(
    ("params", "counts"),
    [
        ({}, (11, 6, 5)),
        ({"dtype": "float16"}, (11, 6, 5)),
        ({"x": -1.5, "dtype": "float64"}, (11, 6, 5)),
        ({"x": 0.0}, (12, 5, 5)),
        ({"x": NAN}, (14, 4, 6)),
        ({"x": 1e308}, (13, 5, 6)),
        ({"x": 1e308, "dtype": "float64"}, (11, 6, 5)),
        ({"x": 1e-45}, (11, 6, 5)),
        ({"x": 1e-8, "dtype": "float16"}, (12, 5, 5)),
    ],
)
def test_ieee_table_counts(params, counts):
    """By default there are 11 nan, 6 inf and 5 nan without a division; at extreme values counts are as measured
    independently.
    """
    metrics = measured("ieee_table", **params)
    assert (metrics["n_nan"], metrics["n_inf"], metrics["n_nan_without_division"]) == counts


@pytest.mark.parametrize("dtype", FORMATS)
def test_big_is_the_first_round_number_whose_exponential_overflows(dtype):
    """The logarithm of max lies below it, and one less does not overflow."""
    big, limit = demo("ieee_table").BIG[dtype], mpmath.log(mpmath.mpf(int(FORMATS[dtype].largest)))
    assert big - 1 < limit < big
