"""Tests the experiment init_gain against reference values computed by independent code."""

import math

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


@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("layers", [1, 20])
def test_init_gain_theory(act, layers):
    """Gain and √χ agree with the mean field at this depth on another grid: ½ and 1 for ReLU, σ_w² and σ_w for the
    identity.
    """
    phi, slope = PHI[act]
    metrics = measured("init_gain", act=act, layers=layers, width=16, batch=2)
    for name, sigma in {"xavier": 1.0, "kaiming": math.sqrt(2), "small": 0.01 * 4}.items():
        q, log_gain, log_chi = sigma**2, 0.0, 0.0
        for _ in range(layers):
            moment = expectation(phi(math.sqrt(q) * Z) ** 2)
            log_gain += math.log(sigma**2 * moment / q)
            log_chi += math.log(sigma**2 * expectation(slope(math.sqrt(q) * Z) ** 2))
            q = sigma**2 * moment
        assert metrics[f"{name}_theory_gain"] == pytest.approx(math.exp(log_gain / layers), rel=1e-4), name
        assert metrics[f"{name}_theory_rate"] == pytest.approx(math.exp(log_chi / 2 / layers), rel=1e-4), name
    if act == "relu":
        assert metrics["xavier_theory_gain"] == pytest.approx(0.5, rel=1e-6)
        assert metrics["kaiming_theory_gain"] == pytest.approx(1, rel=1e-6)
        assert metrics["kaiming_theory_rate"] == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid"])
def test_init_gain_against_a_backward_pass_by_hand(act):
    """Gains, gradient rates and the output's rms equal those of numpy for the same draws."""
    phi, slope = PHI[act]
    x, matrices, noise = draws(0, (5, 8), (3, 8, 8), (5, 8))
    metrics = measured("init_gain", act=act, layers=3, width=8, batch=5)
    for name, std in {"xavier": 8**-0.5, "kaiming": 0.5, "small": 0.01}.items():
        h, pre = x, []
        for w in matrices:
            pre.append(std * h @ w)
            h = phi(pre[-1])
        back = noise
        for w, z in zip(matrices[::-1], pre[::-1], strict=True):
            back = std * (back * slope(z)) @ w.T
        assert metrics[f"{name}_gain"] == pytest.approx(((h**2).mean() / (x**2).mean()) ** (1 / 3), rel=1e-10), name
        assert metrics[f"{name}_out_rms"] == pytest.approx(math.sqrt((h**2).mean()), rel=1e-10), name
        rate = (rms_norm(back) / rms_norm(noise)) ** (1 / 3)
        assert metrics[f"{name}_grad_rate"] == pytest.approx(rate, rel=1e-10), name
        assert metrics[f"{name}_abs_log_rate"] == pytest.approx(abs(math.log(rate)), rel=1e-9), name


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_init_gain_claims_for_relu(seed):
    """ReLU halves the second moment under Xavier, keeps it under Kaiming; the ratio of the two is exact."""
    metrics = measured("init_gain", seed)
    assert metrics["xavier_gain"] == pytest.approx(0.5, abs=0.05)
    assert metrics["kaiming_gain"] == pytest.approx(1, abs=0.1)
    assert metrics["kaiming_gain"] == pytest.approx(2 * metrics["xavier_gain"], rel=1e-10)
    assert metrics["small_gain"] == pytest.approx(0.01**2 * 256 * metrics["xavier_gain"], rel=1e-10)
    assert metrics["kaiming_grad_rate"] == pytest.approx(math.sqrt(2) * metrics["xavier_grad_rate"], rel=1e-10)
    assert metrics["kaiming_closer_by"] > 0
    assert metrics["theory_log_error"] < 0.05
    identity = measured("init_gain", seed, act="identity")
    assert identity["xavier_gain"] == pytest.approx(1, abs=0.1)
    assert identity["kaiming_gain"] == pytest.approx(2, abs=0.2)


def test_init_gain_claims_for_tanh_and_edges():
    """For tanh Kaiming's gradient is closer to 1 at 20 layers, and Xavier's at 200; float64 resolves small rates."""
    assert measured("init_gain", act="tanh")["kaiming_closer_by"] > 0
    deep = measured("init_gain", act="tanh", layers=200, width=128, batch=16)
    assert deep["kaiming_closer_by"] < 0
    assert deep["xavier_grad_rate"] == pytest.approx(0.9906, abs=0.01)
    tiny = measured("init_gain", act="sigmoid")
    assert tiny["small_grad_rate"] == pytest.approx(0.0404, abs=0.002)
    assert tiny["xavier_grad_rate"] == pytest.approx(0.2361, abs=0.008)
    assert tiny["kaiming_grad_rate"] == pytest.approx(0.3178, abs=0.012)
    assert measured("init_gain", layers=200, width=128, batch=16)["xavier_grad_rate"] == pytest.approx(0.70, abs=0.02)
    dead = measured("init_gain", width=1)
    assert dead["xavier_gain"] == dead["xavier_out_rms"] == 0
    assert dead["xavier_abs_log_gain"] == INF
