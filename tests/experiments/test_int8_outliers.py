"""Tests the experiment int8_outliers against quantisation with numpy's integers, and against the statistics of
rounding.
"""

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("x", [1.0, 10.0, 100.0])
def test_one_step_for_the_tensor_by_integers(x):
    a, w = draws(0, (64, 128), (128, 64), double=True)
    a[:, :2] *= x
    w /= 128**0.5
    w[:2] /= x
    step = abs(a).max() / 127
    stored = np.rint(a / step).astype(np.int8)
    error = np.linalg.norm((stored * step - a) @ w) / np.linalg.norm(a @ w)
    metrics = measured("int8_outliers", x=x)
    assert metrics["tensor"] == pytest.approx(error, rel=1e-9)
    assert metrics["step"] == pytest.approx(step, rel=1e-12)
    assert metrics["zeros"] == pytest.approx((stored[:, 2:] == 0).mean(), abs=1e-12)


@pytest.mark.parametrize("bits", [8, 12])
def test_without_outliers_the_error_is_a_twelfth_of_the_step_squared(bits):
    metrics = measured("int8_outliers", bits=bits, outliers=0)
    assert metrics["tensor"] == pytest.approx(metrics["step"] / 12**0.5, rel=0.05)
    assert metrics["kept"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_helps(seed):
    """Float8 has a nearly constant error for outliers up to a thousand times larger."""
    rows, metrics = measure("int8_outliers", seed)
    assert metrics["tensor"] > 0.4 > metrics["token"] > metrics["smooth"] > metrics["mixed"]
    assert metrics["mixed"] < 0.02
    assert metrics["kept"] == 2 / 128
    assert all(0.015 < row["float8"] < 0.05 for row in rows[:10])
