"""Tests the experiment where_nan_begins: a hook finds the fault in the layer and step where it was planted."""

import pytest
from oracles import measure, measured

PLACES = [(8, 4, 5), (3, 1, 0), (12, 12, 2), (2, 2, 1)]


@pytest.mark.parametrize(("layers", "bad_layer", "bad_step"), PLACES)
@pytest.mark.parametrize("cause", ["log", "overflow", "weights", "data"])
def test_the_hook_finds_layer_and_step(layers, bad_layer, bad_step, cause):
    """The first non-finite output is at the planted place; asking for nan is one layer late for an overflow."""
    metrics = measured("where_nan_begins", layers=layers, bad_layer=bad_layer, bad_step=bad_step, cause=cause)
    assert metrics["hook_step"] == bad_step
    assert metrics["hook_layer"] == (1 if cause == "data" else bad_layer)
    assert metrics["input_finite"] == int(cause != "data")
    assert metrics["weights_finite"] == int(cause != "weights")
    assert metrics["nan_lag"] == int(cause == "overflow")
    assert metrics["bad_weight_layers"] == metrics["bad_gradient_layers"] == layers + 1
    assert (metrics["anomaly_raised"], metrics["anomaly_blames_loss"]) == (1, 1)


@pytest.mark.parametrize(("layers", "bad_layer", "bad_step"), PLACES)
def test_a_root_goes_bad_backward_only(layers, bad_layer, bad_step):
    """Every output is finite; gradients are bad from the faulty layer down to the first; detect_anomaly raises an
    error.
    """
    rows, metrics = measure("where_nan_begins", layers=layers, bad_layer=bad_layer, bad_step=bad_step, cause="root")
    assert metrics["hook_layer"] is metrics["hook_step"] is metrics["nan_layer"] is metrics["nan_lag"] is None
    assert metrics["gradient_step"] == bad_step
    assert metrics["gradient_layer"] == metrics["bad_gradient_layers"] == metrics["bad_weight_layers"] == bad_layer
    assert (metrics["anomaly_raised"], metrics["anomaly_blames_loss"]) == (1, 0)
    assert {row["anomaly"] for row in rows} <= {"MulBackward0", "SqrtBackward0"}  # 0·inf, or 0/0 for a dead row
    assert [row["layer"] for row in rows if row["gradient"] < 1] == list(range(1, bad_layer + 1))


def test_anomaly_detection_is_silent_about_inf():
    """The loss is inf, but as no gradient is nan nothing is raised."""
    metrics = measured("where_nan_begins", cause="inf_loss")
    assert metrics["loss"] == float("inf")
    assert metrics["hook_step"] is metrics["gradient_step"] is None
    assert metrics["bad_weight_layers"] == metrics["anomaly_raised"] == 0


def test_no_fault():
    """Without a fault nothing is found; a bad_layer beyond the last block means the last block."""
    for bad_step in (0, 20):
        metrics = measured("where_nan_begins", cause="none", bad_step=bad_step)
        assert metrics["hook_step"] is metrics["gradient_step"] is None
        assert metrics["bad_weight_layers"] == metrics["anomaly_raised"] == 0
    assert measured("where_nan_begins", bad_layer=50)["hook_layer"] == 8
