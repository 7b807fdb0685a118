"""Tests the experiment nan_in_batch against reference values computed by independent code."""

import math

import pytest
from oracles import INF, NAN, measure, measured


@pytest.mark.parametrize("x", [NAN, INF, -INF, 1e308])
@pytest.mark.parametrize(("norm", "spoilt"), [("none", 1), ("layer", 1), ("batch_eval", 1), ("batch", 8)])
def test_only_batch_statistics_spread_a_bad_row(norm, spoilt, x):
    """Either one row is bad or all rows; nan is tested, as a ReLU may make a pre-activation of −inf finite."""
    rows, metrics = measure("nan_in_batch", norm=norm, x=x)
    assert metrics["bad_input_rows"] == 1
    assert metrics["bad_rows"] == spoilt
    assert metrics["bad_rows_share"] == spoilt / 8
    assert not math.isfinite(metrics["loss"])
    assert [row["row"] for row in rows if row["bad"] > 0] == (list(range(8)) if spoilt == 8 else [4])
    assert metrics["bad_running_stats"] == {"batch": 1, "batch_eval": 0}.get(norm)
    if math.isnan(x):
        assert metrics["bad_gradients"] == 1


@pytest.mark.parametrize("norm", ["none", "layer", "batch_eval", "batch"])
def test_controls_of_a_bad_row(norm):
    """With a finite number instead, or without the bad row, nothing goes bad."""
    for params in ({"x": 1.0}, {"x": NAN, "drop": True}):
        metrics = measured("nan_in_batch", norm=norm, **params)
        assert metrics["loss"] == metrics["loss_without"]
        assert metrics["bad_rows"] == metrics["bad_gradients"] == 0
        assert math.isfinite(metrics["loss"])
        assert not metrics["bad_running_stats"]
    assert len(measure("nan_in_batch", norm=norm, x=NAN, drop=True, batch=3)[0]) == 2
