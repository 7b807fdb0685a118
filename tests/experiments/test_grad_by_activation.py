"""Tests the experiment grad_by_activation against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import (
    INF,
    PHI,
    Z,
    draws,
    expectation,
    measured,
    rms_norm,
)

from qa_service.errors import BadParameter


def mean_field(name: str, sigma: float, layers: int, steps: int = 3000) -> tuple[float, float]:
    """The geometric mean of √χ over the layers, and √χ at the fixed point, by integration on a fine uniform grid."""
    phi, slope = PHI[name]
    q, log_chi = sigma**2, 0.0
    for _ in range(layers):
        log_chi += math.log(sigma**2 * expectation(slope(math.sqrt(q) * Z) ** 2))
        q = sigma**2 * expectation(phi(math.sqrt(q) * Z) ** 2)
    for _ in range(0 if name == "tanh" and sigma <= 1 else steps):
        before, q = q, sigma**2 * expectation(phi(math.sqrt(q) * Z) ** 2)
        if abs(q - before) < 1e-13 * q:
            break
    else:
        q = 0.0
    return math.exp(log_chi / 2 / layers), sigma * math.sqrt(expectation(slope(math.sqrt(q) * Z) ** 2))


@pytest.mark.parametrize(("layers", "sigma"), [(20, 1.0), (50, 1.0), (5, 4.0), (20, 2.0), (20, 0.7)])
def test_grad_by_activation_theory(layers, sigma):
    """√χ = σ_w·√E[φ'²], layer by layer and at the fixed point, equals a numerical integral on another grid."""
    metrics = measured("grad_by_activation", layers=layers, width=4, batch=2, sigma_w=sigma)
    for name in ("sigmoid", "tanh"):
        at_depth, limit = mean_field(name, sigma, layers)
        assert metrics[f"{name}_theory_rate"] == pytest.approx(at_depth, rel=1e-4), name
        assert metrics[f"{name}_theory_limit"] == pytest.approx(limit, rel=1e-4), name
    assert metrics["relu_he_theory_rate"] == pytest.approx(sigma / math.sqrt(2), rel=1e-15)


def test_grad_by_activation_published_rates():
    """Rates are 0.2361 and 1 in the limit; for tanh 0.9202, 0.9584, 0.9860 at 20, 50, 200 layers and 1.5417 at σ_w =
    4.
    """
    for layers, rate in ((20, 0.9202), (50, 0.9584), (200, 0.9860)):
        metrics = measured("grad_by_activation", layers=layers, width=4, batch=2)
        assert metrics["tanh_theory_rate"] == pytest.approx(rate, abs=5e-5)
        assert metrics["tanh_theory_limit"] == pytest.approx(1, abs=1e-9)
        assert metrics["sigmoid_theory_limit"] == pytest.approx(0.2361, abs=6e-5)
    steep = measured("grad_by_activation", width=4, batch=2, sigma_w=4.0)
    assert steep["tanh_theory_limit"] == pytest.approx(1.5417, abs=5e-5)
    assert steep["sigmoid_theory_limit"] == pytest.approx(0.632, abs=5e-4)


@pytest.mark.parametrize("layers", [1, 3, 7])
def test_grad_by_activation_against_a_backward_pass_by_hand(layers):
    """The measured rates equal those of numpy in float64, with φ' and transposed weights, for the same draws."""
    x, *raw, read_out = draws(0, (6, 9), *[(9, 9)] * layers, (9, 1))
    metrics = measured("grad_by_activation", layers=layers, width=9, batch=6)
    standard = {"sigmoid": ("sigmoid", 1), "tanh": ("tanh", 1), "relu_xavier": ("relu", 1), "relu_he": ("relu", 2**0.5),
                "relu_small": ("relu", 0.2)}  # fmt: skip
    for metric, (name, sigma) in standard.items():
        phi, slope = PHI[name]
        weights, h, pre = [sigma * w / 3 for w in raw], x, []
        for w in weights:
            pre.append(h @ w)
            h = phi(pre[-1])
        back = last = np.tile(read_out.T / 3, (6, 1))
        for w, z in zip(reversed(weights), reversed(pre), strict=True):
            back = (back * slope(z)) @ w.T
        ratio = rms_norm(back) / rms_norm(last)
        assert metrics[f"{metric}_total_ratio"] == pytest.approx(ratio, rel=1e-4), metric
        assert metrics[f"{metric}_rate"] == pytest.approx(ratio ** (1 / layers), rel=1e-4), metric


def test_grad_by_activation_claims_and_scaling():
    """Sigmoid loses its gradient, ReLU keeps it at He's scale; ReLU's gradient is exactly σ_w^L homogeneous."""
    metrics = measured("grad_by_activation")
    assert metrics["sigmoid_rate"] < 0.3
    assert 0.8 < metrics["relu_he_rate"] < 1.25
    assert metrics["relu_xavier_rate"] == pytest.approx(metrics["relu_he_rate"] / math.sqrt(2), rel=1e-4)
    assert metrics["relu_small_rate"] == pytest.approx(metrics["relu_xavier_rate"] * 0.2, rel=1e-4)
    assert metrics["relu_he_drift"] == pytest.approx(abs(math.log(metrics["relu_he_rate"])), rel=1e-12)
    assert metrics["relu_small_total_ratio"] < metrics["sigmoid_total_ratio"] < 1e-12


def test_grad_by_activation_edges():
    """The gradient over 50 layers has a norm in float64; over 500 narrow ones sigmoid's is 0; a net of width 1 dies."""
    assert 1e-33 < measured("grad_by_activation", layers=50, act="sigmoid")["sigmoid_total_ratio"] < 1e-30
    deep = measured("grad_by_activation", layers=500, width=32, batch=8)
    assert deep["sigmoid_total_ratio"] == deep["relu_xavier_total_ratio"] == 0
    assert 0.9 < deep["relu_he_rate"] < 1
    dead = measured("grad_by_activation", width=1)
    assert dead["relu_he_rate"] == dead["relu_xavier_rate"] == dead["relu_small_rate"] == 0
    assert dead["relu_he_drift"] == INF
    only = measured("grad_by_activation", act="tanh", layers=3)
    assert only["tanh_rate"] is not None
    assert only["sigmoid_rate"] is only["relu_he_rate"] is None
    own = measured("grad_by_activation", sigma_w=1.0, layers=3)
    assert own["relu_xavier_rate"] is own["relu_small_rate"] is None
    with pytest.raises(BadParameter):
        measured("grad_by_activation", sigma_w=1e308)
