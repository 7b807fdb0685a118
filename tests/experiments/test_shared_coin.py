"""Tests the experiment shared_coin against theory and exact enumeration."""

from fractions import Fraction
from math import sqrt

import pytest
from oracles import measure, measured


@pytest.mark.parametrize(("a", "n"), [(1.0, 20000), (0.05, 5000), (3.0, 50000), (1000.0, 20000)])
def test_correlation_is_that_of_polya(a, n):
    """P(two heads) = a(a + 1)/(2a(2a + 1)), from which the correlation 1/(2a + 1) follows; both within chance."""
    exact = Fraction(a)
    both = exact * (exact + 1) / (2 * exact * (2 * exact + 1))
    corr = (both - Fraction(1, 4)) / Fraction(1, 4)
    metrics = measured("shared_coin", a=a, n=n)
    assert metrics["theory_corr"] == pytest.approx(float(corr))
    assert metrics["theory_heads_after_heads"] == pytest.approx(float(2 * both))
    assert metrics["corr"] == pytest.approx(float(corr), abs=5 / sqrt(n))
    assert metrics["corr_gap"] == pytest.approx(abs(metrics["corr"] - float(corr)))
    assert metrics["heads_after_heads"] == pytest.approx(float(2 * both), abs=5 / sqrt(n))
    assert abs(metrics["corr_given_p"]) < (5 / sqrt(n) if a > 0.5 else 0.3)


@pytest.mark.parametrize("batch", [2, 3, 8, 64])
def test_samples_of_a_normalised_batch_are_correlated(batch):
    """Subtracting the batch mean: covariance −1/m, variance 1 − 1/m, hence −1/(m − 1)."""
    metrics = measured("shared_coin", batch=batch)
    assert metrics["theory_bn_corr"] == pytest.approx(float(Fraction(-1, batch) / (1 - Fraction(1, batch))))
    assert metrics["bn_corr"] == pytest.approx(metrics["theory_bn_corr"], abs=5 / sqrt(20000))


def test_edges():
    """Ten coins run; the chart's last point is that of all coins; a coin that never falls heads has no share."""
    rows, _ = measure("shared_coin", n=10)
    assert rows[-1]["coins"] == 10
    assert len(rows) >= 5
    assert -1 <= measured("shared_coin", n=10, a=0.05)["corr"] <= 1
