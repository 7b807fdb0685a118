"""Tests the experiment chance_triage: what each planted mistake must look like."""

import math

import pytest
from oracles import measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_three_tests_tell_the_mistakes_apart(seed, classes):
    """Overfitting a batch fails only for broken inputs or optimiser; all predictions are one label only for inputs out
    of range.
    """
    found = {
        case: measured("chance_triage", seed, case=case, classes=classes, epochs=12)
        for case in ("none", "shuffled_labels", "zero_inputs", "raw_validation", "frozen", "numbering", "noisy_labels")
    }
    for case, metrics in found.items():
        assert metrics["nonfinite_share"] == 0, case
        assert metrics["theory_chance_loss"] == pytest.approx(math.log(classes))
        assert metrics["first_loss_gap"] < 0.3, case
        assert (metrics["overfit_loss"] < 0.05) is (case not in ("zero_inputs", "frozen")), case
        assert metrics["above_chance"] == pytest.approx(metrics["validation_accuracy"] - 1 / classes)
    assert found["none"]["validation_accuracy"] > 0.6
    assert found["shuffled_labels"]["above_chance"] < 0.2
    assert found["noisy_labels"]["above_chance"] > 0.3
    assert found["noisy_labels"]["training_accuracy"] < 0.95
    assert found["raw_validation"]["above_chance"] < 0.2
    assert found["raw_validation"]["training_accuracy"] > 0.8
    assert found["raw_validation"]["validation_spread"] > 4
    assert found["numbering"]["validation_accuracy"] < 0.2
    zero = found["zero_inputs"]
    assert (zero["distinct_predicted"], zero["top_share"]) == (1, 1)
    assert zero["validation_accuracy"] == pytest.approx(1 / classes)  # the share of one class, exactly
    assert zero["overfit_loss"] == pytest.approx(math.log(classes), rel=1e-2)  # the entropy of 20 balanced labels


def test_one_epoch():
    """The experiment runs with a single epoch, the minimum."""
    assert measured("chance_triage", epochs=1)["chance"] == 0.5
