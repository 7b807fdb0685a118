"""Tests the experiment chance_loss against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_ln_c(classes):
    """Equal logits cost ln C, to the last digits."""
    metrics = measured("chance_loss", classes=classes)
    right = float(mpmath.log(classes))
    assert metrics["loss"] == pytest.approx(right, rel=1e-12)
    assert metrics["theory_chance_loss"] == pytest.approx(right, rel=1e-15)
    assert abs(metrics["above_chance"]) < 1e-12
    assert metrics["accuracy"] == pytest.approx(1 / classes, abs=1e-3)


@pytest.mark.parametrize(("classes", "std", "balance"), [(10, 1.0, 0.0), (2, 3.0, 0.9), (5, 10.0, 0.5), (2, 0.1, 0.0)])
def test_random_logits(classes, std, balance):
    """The loss in numpy from the same draws; between ln C and ln C + std²/2 within the noise of the sample."""
    (z,) = draws(0, (1000, classes), double=True)
    first = balance or 1 / classes
    ends = np.round(np.cumsum([first] + [(1 - first) / (classes - 1)] * (classes - 1)) * 1000)
    y = np.searchsorted(ends[:-1], np.arange(1000), side="right")
    z = std * z
    right = (np.log(np.exp(z).sum(1)) - z[np.arange(1000), y]).mean()
    metrics = measured("chance_loss", classes=classes, std=std, balance=balance)
    assert metrics["loss"] == pytest.approx(right, rel=1e-9)
    assert math.log(classes) - 0.5 * std < metrics["loss"] < metrics["theory_upper"] + 0.5 * std
    assert metrics["theory_upper"] == pytest.approx(math.log(classes) + std * std / 2, rel=1e-12)
    shares = np.array([first] + [(1 - first) / (classes - 1)] * (classes - 1))
    assert metrics["theory_entropy"] == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-12)
    assert metrics["prior_loss"] == pytest.approx(metrics["theory_entropy"], rel=1e-2)
    assert metrics["sure_and_wrong"] == pytest.approx(np.log(np.exp(10 * std) + classes - 1), rel=1e-9)
