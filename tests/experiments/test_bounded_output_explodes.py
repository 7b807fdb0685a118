"""Tests the experiment bounded_output_explodes against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import PHI, Z, draws, expectation, measured


def fixed_point_rate(sigma):
    """√χ by iterating the mean-field map on a grid in Z."""
    phi, slope = PHI["tanh"]
    q = sigma**2
    for _ in range(200):
        q = sigma**2 * expectation(phi(math.sqrt(q) * Z) ** 2)
    return sigma * math.sqrt(expectation(slope(math.sqrt(q) * Z) ** 2))


@pytest.mark.parametrize("sigma", [1.2, 2.0, 3.0, 10.0])
def test_bounded_output_theory(sigma):
    """The theoretical rate agrees with another integration: σ_w for σ_w ≤ 1, and √(σ_w·4/(3√(2π))) for σ_w = 1000."""
    assert measured("bounded_output_explodes", sigma_w=sigma, layers=2)["theory_rate"] == pytest.approx(
        fixed_point_rate(sigma), rel=1e-4
    )
    assert measured("bounded_output_explodes", sigma_w=1.0, layers=2)["theory_rate"] == 1
    huge = measured("bounded_output_explodes", sigma_w=1000.0, layers=2)["theory_rate"]
    assert huge == pytest.approx(math.sqrt(1000 * 4 / (3 * math.sqrt(2 * math.pi))), rel=1e-3)


@pytest.mark.parametrize(("layers", "width", "sigma"), [(1, 16, 3.0), (8, 32, 2.0)])
def test_bounded_output_gradient_by_hand(layers, width, sigma):
    """The gradient equals that of forward and backward passes written in numpy."""
    x, read_out, *raw = draws(0, (32, width), (width, 1), *[(width, width)] * layers)
    weights = [sigma / math.sqrt(width) * w for w in raw]
    states = [x]
    for w in weights:
        states.append(np.tanh(states[-1] @ w))
    last = grad = np.repeat(read_out.T, 32, axis=0)
    for h, w in zip(reversed(states[1:]), reversed(weights), strict=True):
        grad = (grad * (1 - h**2)) @ w.T
    metrics = measured("bounded_output_explodes", layers=layers, width=width, sigma_w=sigma, dtype="float64")
    assert metrics["grad_ratio"] == pytest.approx(np.linalg.norm(grad) / np.linalg.norm(last), rel=1e-5)
    assert metrics["rate"] == pytest.approx(metrics["grad_ratio"] ** (1 / layers))
    assert metrics["max_output"] == pytest.approx(max(abs(h).max() for h in states[1:]), rel=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bounded_output_claims(seed):
    """Bounded outputs go with a gradient a thousandfold larger; outputs of ten thousands go with an unchanged
    gradient.
    """
    metrics = measured("bounded_output_explodes", seed)
    assert metrics["max_output"] <= 1
    assert metrics["grad_ratio"] > 1e3
    assert metrics["rate_error"] < 0.1
    assert metrics["orthogonal_max_output"] > 1e4
    assert metrics["orthogonal_grad_ratio"] == pytest.approx(1, abs=0.01)
    assert measured("bounded_output_explodes", seed, sigma_w=1.0)["grad_ratio"] < 1
    assert measured("bounded_output_explodes", seed, sigma_w=2.0)["grad_ratio"] < 1e3
    assert measured("bounded_output_explodes", seed, sigma_w=2.0, layers=60)["grad_ratio"] > 1e3


def test_bounded_output_edges():
    """σ_w = 0 has no rate; 500 layers overflow float32 but not float64; σ_w = 1000 saturates to a gradient of exactly
    0.
    """
    nothing = measured("bounded_output_explodes", sigma_w=0.0)
    assert nothing["rate"] is nothing["rate_error"] is None
    assert nothing["grad_ratio"] == nothing["theory_rate"] == 0
    deep = {"layers": 500, "width": 32}
    assert math.isnan(measured("bounded_output_explodes", **deep)["grad_ratio"])
    assert measured("bounded_output_explodes", **deep, dtype="float64")["rate"] == pytest.approx(1.36, abs=0.1)
    saturated = measured("bounded_output_explodes", sigma_w=1000.0)
    assert saturated["grad_ratio"] == 0
    assert saturated["theory_rate"] == pytest.approx(23.07, abs=0.01)
