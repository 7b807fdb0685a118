"""Tests the experiment linear_collapse against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("width", [8, 32])
def test_linear_collapse_r2_is_that_of_least_squares(width):
    """R² equals that of numpy's lstsq with intercept on the same inputs and matrices."""
    x, *ws = draws(4, (2000, width), *[(width, width)] * 3, double=True)
    h = x
    for w in ws:
        h = np.maximum(h @ (w * math.sqrt(2 / width)), 0)
    design = np.hstack([np.ones((2000, 1)), x])
    rest = h - design @ np.linalg.lstsq(design, h, rcond=None)[0]
    r2 = 1 - (rest**2).sum() / ((h - h.mean(0)) ** 2).sum()
    metrics = measured("linear_collapse", 4, layers=3, width=width)
    assert metrics["relu_best_linear_r2"] == pytest.approx(r2, rel=1e-9)
    one = x @ np.linalg.multi_dot([w * math.sqrt(2 / width) for w in ws])
    assert metrics["relu_one_matrix_err"] == pytest.approx(np.linalg.norm(h - one) / np.linalg.norm(one), rel=1e-9)


def test_linear_collapse_one_layer_closed_form():
    """For one ReLU of a Gaussian R² is (1/4)/(1/2 − 1/(2π)) = 0.7335, plus a little from fitting 65 numbers to 2000."""
    theory = 0.25 / (0.5 - 1 / (2 * math.pi))
    metrics = measured("linear_collapse", layers=1)
    assert metrics["theory_relu_r2"] == pytest.approx(theory, rel=1e-12)
    adjusted = 1 - (1 - metrics["relu_best_linear_r2"]) * 1999 / (1999 - 64)
    assert adjusted == pytest.approx(theory, abs=0.01)


def test_linear_collapse_theory_by_simulation():
    """For two layers the kernel's slope and value agree with a Monte Carlo mean over pairs of correlated normals."""
    rng, rho, step = np.random.default_rng(0), 1 / math.pi, 1e-3

    def kappa(r: float) -> float:
        return (math.sqrt(1 - r * r) + r * (math.pi - math.acos(r))) / math.pi

    a, b = rng.standard_normal((2, 2_000_000))
    pairs = np.maximum(a, 0) * np.maximum(rho * a + math.sqrt(1 - rho**2) * b, 0)
    assert 2 * pairs.mean() == pytest.approx(kappa(rho), abs=3e-3)
    slope = (kappa(kappa(step)) - kappa(kappa(-step))) / (2 * step)
    assert measured("linear_collapse", layers=2)["theory_relu_r2"] == pytest.approx(
        slope / (1 - kappa(kappa(0))), rel=1e-5
    )


@pytest.mark.parametrize("params", [{}, {"layers": 10}, {"width": 256}, {"layers": 100}])
def test_linear_collapse_claims(params):
    """Without activations the layers equal one matrix; with ReLU no linear map fits them."""
    metrics = measured("linear_collapse", **params)
    assert metrics["one_matrix_err"] < 1e-10
    assert metrics["best_linear_r2"] == pytest.approx(1, abs=1e-12)
    assert metrics["relu_best_linear_r2"] < 0.95
    assert metrics["relu_one_matrix_err"] > 0.5


def test_linear_collapse_controls_and_edges():
    """With act = relu both measured nets are the same; a single layer equals its own matrix."""
    rows, metrics = measure("linear_collapse", act="relu")
    assert metrics["one_matrix_err"] == metrics["relu_one_matrix_err"] > 0.5
    assert metrics["best_linear_r2"] == metrics["relu_best_linear_r2"]
    assert len(rows) == 5
    assert measured("linear_collapse", layers=1)["one_matrix_err"] == 0
    assert measured("linear_collapse", act="leaky_relu")["best_linear_r2"] > metrics["best_linear_r2"]
