"""Tests the experiment bn_test_batch against Gaussian tail probabilities from scipy."""

import pytest
from oracles import measure, measured
from scipy.stats import norm


@pytest.mark.parametrize(("positives", "shift", "separation"), [(0.5, 0.0, 1.0), (1.0, 0.0, 2.0), (0.75, 1.5, 1.5)])
def test_accuracies_in_large_batches(positives, shift, separation):
    metrics = measured("bn_test_batch", positives=positives, shift=shift, separation=separation, batch=512)
    threshold = separation * (2 * positives - 1) + shift
    for name, at in (("eval", 0.0), ("train_mode", threshold)):
        plus, minus = norm.sf(at - separation - shift), norm.cdf(at + separation - shift)
        expected = positives * plus + (1 - positives) * minus
        assert metrics[name] == pytest.approx(expected, abs=0.01)
        assert metrics[f"theory_{name}"] == pytest.approx(expected, abs=1e-9)


def test_adapting_undoes_any_shift():
    """The result is as good as the threshold of the pool of 512 balanced samples."""
    rows, metrics = measure("bn_test_batch", shift=7.0, positives=0.9)
    assert metrics["adapted"] == pytest.approx(norm.cdf(2), abs=0.01)
    assert metrics["eval"] == pytest.approx(0.9, abs=0.01)
    assert [row["positives"] for row in rows] == [k / 10 for k in range(11)]


def test_nothing_flips_between_batches_of_one_kind():
    assert measured("bn_test_batch", positives=0.5, separation=10.0)["flips"] == 0
    assert measured("bn_test_batch", positives=1.0)["flips"] == pytest.approx(0.5, abs=0.15)


def test_pairs_of_both_classes():
    """The threshold is the middle of the pair, so both are right if x₊ > x₋, with probability Φ(√2·separation)."""
    metrics = measured("bn_test_batch", positives=0.5, batch=2, separation=1.0, shift=3.0)
    assert metrics["train_mode"] == pytest.approx(norm.cdf(2**0.5), abs=0.06)
    assert metrics["train_mode"] > norm.cdf(1) + 0.02
