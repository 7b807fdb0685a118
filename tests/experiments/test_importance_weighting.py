"""Tests the experiment importance_weighting against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize(("n", "shift", "power"), [(200, 0.5, 1.0), (50, 0.3, 0.5), (1000, -0.4, 0.0)])
def test_lines_are_those_of_numpy(n, shift, power):
    """The lines equal np.polyfit's with root weights on the same draws; their errors are measured on a million test
    points.
    """
    x, noise = draws(0, (n,), (n,), double=True)
    x = 0.5 + 0.5 * x
    y = x**3 - x + 0.3 * noise
    mean = 0.5 - shift
    weight = (np.exp(-(((x - mean) / 0.3) ** 2) / 2 + ((x - 0.5) / 0.5) ** 2 / 2)) ** power
    test = np.random.default_rng(0).normal(mean, 0.3, 1_000_000)
    metrics = measured("importance_weighting", n=n, shift=shift, power=power)
    for name, w in (("unweighted", np.ones(n)), ("weighted", weight)):
        fit = np.polyfit(x, y, 1, w=np.sqrt(w))
        assert metrics[f"{name}_mse"] == pytest.approx(((np.polyval(fit, test) - test**3 + test) ** 2).mean(), rel=0.01)
    assert metrics["effective_samples"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-9)
    assert metrics["largest_weight_share"] == pytest.approx(weight.max() / weight.sum(), rel=1e-9)


@pytest.mark.parametrize("shift", [0.5, 1.0, -0.5])
def test_theory_in_closed_form(shift):
    """By Stein's lemma the best line for x³ − x under N(m, s²) has slope 3(m² + s²) − 1; its remaining error is known
    as well.
    """
    m, s2 = 0.5 - shift, 0.09
    metrics = measured("importance_weighting", shift=shift)
    assert metrics["theory_weighted_mse"] == pytest.approx(6 * s2**3 + 18 * m**2 * s2**2, rel=1e-6)
    slope = 3 * (0.25 + 0.25) - 1
    level = 0.125 + 3 * 0.5 * 0.25 - 0.5 - slope * 0.5
    best = 3 * (m**2 + s2) - 1
    bias = level + slope * m - (m**3 + 3 * m * s2 - m)
    expected = bias**2 + (slope - best) ** 2 * s2 + metrics["theory_weighted_mse"]
    assert metrics["theory_unweighted_mse"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_weighting_helps_a_wrong_model_only(seed):
    """A misspecified line improves, a correct one does not; with a distant target hardly a sample has weight."""
    assert measured("importance_weighting", seed)["mse_ratio"] > 3
    assert measured("importance_weighting", seed, target="line")["mse_ratio"] < 3
    assert measured("importance_weighting", seed, shift=2.0)["effective_samples"] < 10


def test_edges():
    """Power 0 gives no weighting; without noise a correct model is exact; the most distant target stays finite."""
    assert measured("importance_weighting", power=0.0)["mse_ratio"] == 1
    exact = measured("importance_weighting", target="line", noise=0.0)
    assert exact["weighted_mse"] < 1e-25
    assert measured("importance_weighting", shift=3.0, n=5)["unweighted_mse"] > 0
