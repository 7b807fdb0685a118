"""Tests the experiment gan_both_nan: where the fault is, when it shows, and that the repair keeps everything finite."""

import pytest
from oracles import measure, measured

CAUSES = {"constant_column": (0, 1, 0), "bad_sample": (10, 1, 0), "generator": (10, 0, 1)}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("seed", [0, 1])
def test_both_fail_in_the_same_update(cause, seed):
    metrics = measured("gan_both_nan", seed, cause=cause)
    step, data, fake = CAUSES[cause]
    assert (metrics["first_d"], metrics["first_g"], metrics["lag"]) == (step, step, 0)
    assert (metrics["bad_data"], metrics["bad_fake"]) == (data, fake)
    assert metrics["nan_d"] == metrics["nan_g"] == 1
    assert metrics["repaired_bad"] == 0


@pytest.mark.parametrize("cause", ["bad_sample", "generator"])
def test_a_skipped_update_poisons_nothing(cause):
    rows, metrics = measure("gan_both_nan", cause=cause, skip=True)
    assert metrics["nan_d"] == metrics["nan_g"] == 0
    assert [row["step"] for row in rows if row["discriminator"] != row["discriminator"]] == [10]


def test_log_of_zero():
    """Data and generated samples are sound when it happens."""
    metrics = measured("gan_both_nan", cause="log_of_zero")
    assert (metrics["first_d"], metrics["bad_data"], metrics["bad_fake"]) == (10, 0, 0)
    assert metrics["repaired_bad"] == 0
