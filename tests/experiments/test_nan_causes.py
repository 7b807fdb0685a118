"""Tests the experiment nan_causes against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import FORMATS, NAN, measure, measured, same


@pytest.mark.parametrize("dtype", FORMATS)
def test_ten_of_ten_without_a_large_number(dtype):
    """All ten formulas give nan in every dtype, three only in the backward pass, for inputs of at most 2."""
    rows, metrics = measure("nan_causes", dtype=dtype)
    assert len(rows) == metrics["n_nan"] == 10
    assert (metrics["n_nan_forward"], metrics["n_nan_backward_only"]) == (7, 3)
    assert metrics["max_input"] <= 2
    for name in ("norm_gradient", "acos_gradient", "where_gradient"):
        assert math.isnan(metrics[name])
    assert metrics["norm"] == 0
    with np.errstate(all="ignore"):
        row = np.full(2, -np.inf)
        ones = np.ones(3)
        oracle = {
            "cross_entropy": -0.0 * np.log(np.float64(0)),
            "masked_softmax": np.exp(row - row.max())[0],
            "standardised": ((ones - 1) / ones.std(ddof=1))[0],
            "cosine": np.float64(0) / np.float64(0),
            "log_variance": np.log(-0.001),
            "empty_mean": np.float64(0) / np.float64(0),
            "nan_input": 1.0 + NAN**2,
        }
    for name, value in oracle.items():
        assert same(metrics[name], float(value)), name


@pytest.mark.parametrize("dtype", FORMATS)
def test_safe_inputs_are_the_control(dtype):
    """At safe inputs the same ten formulas give no nan, and the right values."""
    metrics = measured("nan_causes", dtype=dtype, safe=True)
    assert metrics["n_nan"] == metrics["n_nan_forward"] == metrics["n_nan_backward_only"] == 0
    expected = {
        "cross_entropy": 0.0,
        "norm": math.sqrt(0.5),
        "norm_gradient": math.sqrt(0.5),
        "masked_softmax": 1.0,
        "standardised": -1.0,
        "cosine": 1.5 / math.sqrt(1.25) / math.sqrt(2),
        "log_variance": math.log(0.5),
        "empty_mean": 2.0,
        "nan_input": 1.25,
        "acos_gradient": 0.0,
        "where_gradient": 0.5,
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-2, abs=1e-6), name
    assert metrics["max_input"] == 2
