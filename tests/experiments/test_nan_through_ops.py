"""Tests the experiment nan_through_ops against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import FORMATS, INF, NAN, measured, same


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("value", "number"), [("nan", NAN), ("inf", INF), ("number", 0.5), ("number", -3.0)])
def test_the_same_in_numpy(value, number, dtype):
    """Each value is what numpy and IEEE 754 give."""
    metrics = measured("nan_through_ops", value=value, x=number if value == "number" else 0.5, dtype=dtype)
    vector = np.array([1.0, number, 2.0])
    largest = float(FORMATS[dtype].largest)
    with np.errstate(all="ignore"):
        expected = {
            "relu": np.maximum(number, 0.0),
            "clamp": np.clip(number, -1, 1),
            "zero_times": 0 * number,
            "nan_to_num": np.nan_to_num(number, posinf=largest),
            "where_zero": number if math.isfinite(number) else 0.0,
            "mean": vector.mean(),
            "nanmean": np.nanmean(vector),
            "max": vector.max(),
            "fmax": np.fmax(number, 0.0),
            "python_max": max(0.0, number),
            "argmax": vector.argmax(),
            "argmax_all": 0,
            "greater_than_0": number > 0,
            "equals_itself": not math.isnan(number),
            "loss_too_large": number > 1000,
        }
    for name, right in expected.items():
        assert metrics[name] == pytest.approx(float(right), rel=1e-2, nan_ok=True), name
    assert metrics["n_nan"] == sum(math.isnan(v) for k, v in metrics.items() if k != "n_nan")


def test_a_nan_is_the_largest_and_nothing():
    """The argmax is the place of the nan, or 0 if all values are nan; every comparison with nan is false."""
    metrics = measured("nan_through_ops")
    assert (metrics["argmax"], metrics["argmax_all"]) == (1, 0)
    assert metrics["greater_than_0"] == metrics["equals_itself"] == metrics["loss_too_large"] == 0
    assert same(metrics["relu"], NAN)
    assert metrics["n_nan"] == 6
