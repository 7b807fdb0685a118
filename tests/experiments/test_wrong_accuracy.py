"""Tests the experiment wrong_accuracy: each metric on four known samples by hand, and against what the true accuracy
implies.
"""

import pytest
from oracles import measure, measured

CASES = ["right", "axis", "column", "shifted", "floats", "integer", "last_batch"]


@pytest.mark.parametrize(
    ("case", "by_hand"),
    [
        ("right", 1),
        ("axis", 0.75),  # the samples with the largest logit are 0, 1, 0, 0 for the four classes
        ("column", 0.5),  # two zeros and two ones: half of the 16 pairs agree
        ("shifted", 0),
        ("floats", 0),
        ("integer", 1),  # 4 // 4: right only when all are
        ("last_batch", 0.25),
    ],
)
def test_four_samples_by_hand(case, by_hand):
    """The labels are 0 1 1 0, predicted without error, among four classes."""
    assert measured("wrong_accuracy", case=case, classes=4, n=1)["on_four"] == by_hand


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", CASES)
def test_training_does_not_depend_on_the_metric(seed, case):
    """Losses and true accuracies are the same whatever metric is printed."""
    rows, metrics = measure("wrong_accuracy", seed, case=case)
    reference, _ = measure("wrong_accuracy", seed, case="right")
    assert [row["true"] for row in rows] == [row["printed"] for row in reference]
    assert metrics["true_end"] > 0.8
    assert metrics["loss_end"] < metrics["loss_start"] / 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_printed(seed):
    """The metric is 0 where floats are compared or integers divided, and at chance where pairs are compared."""
    printed = {case: measure("wrong_accuracy", seed, case=case)[1]["printed_end"] for case in CASES}
    assert printed["floats"] == 0
    assert printed["integer"] in (0, 1)
    assert printed["column"] == pytest.approx(1 / 5, abs=0.03)
    assert printed["last_batch"] <= 1 / 8
    assert printed["shifted"] < 0.2
