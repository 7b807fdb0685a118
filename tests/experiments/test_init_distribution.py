"""Tests the experiment init_distribution against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import (
    INF,
    Z,
    demo,
    draws,
    expectation,
    measured,
)

LAWS = ["normal", "uniform", "rademacher", "laplace", "trunc", "student3", "sparse10", "exponential"]


@pytest.mark.parametrize(
    ("law", "mean", "fourth"),
    [("normal", 0, 3), ("uniform", 0, 1.8), ("rademacher", 0, 1), ("laplace", 0, 6), ("trunc", 0, None),
     ("sparse10", 0, 30), ("exponential", 0, 9), ("mean_half", 0.5, None), ("constant", 1, 1), ("student3", 0, None)],
)  # fmt: skip
def test_init_distribution_laws(law, mean, fourth):
    """Every law has E[w²] = 1 and the mean and fourth moment of its name."""
    import torch

    torch.manual_seed(1)
    w = demo("init_distribution").entries(law, 600).numpy()
    assert w.mean() == pytest.approx(mean, abs=0.01)
    assert (w**2).mean() == pytest.approx(1, rel=0.1 if law == "student3" else 0.02)
    if fourth is not None:
        assert (w**4).mean() == pytest.approx(fourth, rel=0.05)
    assert np.isfinite(w).all()


def test_init_distribution_truncated_orthogonal_and_rank_one():
    """The truncated normal is scaled by its own standard deviation (mpmath), √n·Q is orthogonal, and u vᵀ has rank
    1.
    """
    import torch

    torch.manual_seed(1)
    entries = demo("init_distribution").entries
    inside = mpmath.erf(mpmath.sqrt(2))
    sd = mpmath.sqrt(1 - 4 * mpmath.npdf(2) / inside)
    trunc = entries("trunc", 400).numpy()
    assert np.abs(trunc).max() <= float(2 / sd) + 1e-6
    assert np.abs(trunc).max() > float(2 / sd) - 1e-2
    assert (trunc**2).mean() == pytest.approx(1, rel=0.01)
    q = entries("orthogonal", 50).numpy()
    np.testing.assert_allclose(q @ q.T, 50 * np.eye(50), atol=1e-10)
    assert np.linalg.matrix_rank(entries("rank1", 50).numpy()) == 1


def test_init_distribution_theory_of_tanh():
    """The mean-field gain follows E[h²] ← E[tanh²(√q z)] to the same depth, integrated on another grid."""
    for sigma, layers in ((1.0, 20), (2.0, 7)):
        moment = 1.0
        for _ in range(layers):
            moment = expectation(np.tanh(sigma * math.sqrt(moment) * Z) ** 2)
        theory = measured("init_distribution", act="tanh", sigma_mult=sigma, layers=layers, width=4, batch=2)
        assert theory["theory_gain"] == pytest.approx(moment ** (1 / layers), rel=1e-6)
    assert measured("init_distribution", sigma_mult=3.0, layers=2, width=4)["theory_gain"] == 9


@pytest.mark.parametrize(("layers", "width"), [(1, 256), (20, 64), (5, 256)])
def test_init_distribution_constant_weights_in_closed_form(layers, width):
    """With equal weights every unit computes relu(σ·Σx), and each further layer multiplies E[h²] by exactly 2n."""
    (x,) = draws(0, (64, width))
    first = np.maximum(math.sqrt(2 / width) * x.sum(1), 0) ** 2
    exact = first.mean() * (2.0 * width) ** (layers - 1) / (x**2).mean()
    gain = measured("init_distribution", layers=layers, width=width)["constant_gain"]
    assert gain == pytest.approx(exact ** (1 / layers), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_init_distribution_claims(seed):
    """Laws with finite variance and mean 0 agree with the theory; Cauchy, mean ½ and constants do not; the noise is
    √(5/(L·n)).
    """
    metrics = measured("init_distribution", seed)
    logs = [math.log(metrics[f"{law}_gain"]) for law in LAWS]
    assert metrics["worst_good_log_gain"] == pytest.approx(max(map(abs, logs)))
    assert metrics["good_log_spread"] == pytest.approx(max(logs) - min(logs))
    assert metrics["theory_log_noise"] == pytest.approx(math.sqrt(5 / (20 * 256)))
    assert metrics["theory_gain"] == 1
    assert max(map(abs, logs)) < 0.3
    assert metrics["skew_ratio"] == pytest.approx(metrics["exponential_gain"] / metrics["normal_gain"])
    assert min(metrics["cauchy_gain"] / 100, metrics["mean_half_gain"] / 10, metrics["constant_gain"] / 100) > 1
    assert metrics["mean_half_gain"] == pytest.approx(96, rel=0.07)
    assert metrics["rank1_gain"] < 0.96


def test_init_distribution_skewness_adds():
    """To next order the skewed law gains more than the normal one: by a factor of 1.075 at width 256, tested on the
    mean of 8 seeds.
    """
    ratios = [measured("init_distribution", seed, layers=20, width=64)["skew_ratio"] for seed in range(8)]
    assert 1.05 < np.mean(ratios) < 1.3


def test_init_distribution_edges():
    """σ = 0, and a net whose only unit is dead, give 0 instead of an error; a single layer gives about 1."""
    zero = measured("init_distribution", sigma_mult=0.0, layers=3, width=8)
    assert all(zero[f"{law}_gain"] == 0 for law in [*LAWS, "cauchy", "constant", "rank1", "orthogonal"])
    assert zero["theory_gain"] == 0
    assert zero["worst_good_log_gain"] == INF
    assert math.isnan(zero["skew_ratio"])
    dead = measured("init_distribution", width=1)
    assert dead["normal_gain"] == 0
    shallow = measured("init_distribution", layers=1)
    assert all(0.7 < shallow[f"{law}_gain"] < 1.4 for law in LAWS)
