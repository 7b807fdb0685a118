"""Tests the experiment kl_estimators against the moments of Gaussians in closed form."""

import math

import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("x", [0.05, 0.3, 1.0])
def test_means_and_deviations(seed, x):
    """k1 has mean x²/2 and deviation x; k2 mean x²/2 + x⁴/8; k3 mean x²/2 and deviation √(e^(x²) − 1 − x²)."""
    metrics = measured("kl_estimators", seed, x=x, n=200_000)
    kl = x * x / 2
    assert metrics["mean_k1"] == pytest.approx(kl, abs=5 * x / math.sqrt(200_000))
    assert metrics["mean_k2"] == pytest.approx(kl + x**4 / 8, rel=0.05)
    assert metrics["mean_k3"] == pytest.approx(kl, rel=0.05)
    assert metrics["noise_k1"] * kl == pytest.approx(x, rel=0.02)
    assert metrics["noise_k3"] * kl == pytest.approx(math.sqrt(math.expm1(x * x) - x * x), rel=0.1)


@pytest.mark.parametrize("x", [0.1, 1.0])
def test_signs_and_slopes(x):
    """P(k1 < 0) = Φ(−x/2); used as losses, k1 has an expected gradient of 0, k2 and k3 that of the KL."""
    metrics = measured("kl_estimators", x=x, n=200_000)
    assert metrics["negative_k1"] == pytest.approx(math.erfc(x / 2 / math.sqrt(2)) / 2, abs=0.005)
    assert metrics["negative_k3"] == 0
    assert metrics["slope_k1"] == pytest.approx(0, abs=0.01)
    assert metrics["slope_k2"] == pytest.approx(-x, rel=0.03)
    assert metrics["slope_k3"] == pytest.approx(-x, rel=0.05)
    for way in ("k1", "k2", "k3"):
        chosen = measured("kl_estimators", x=x, n=200_000, way=way)["slope_over_kl"]
        assert chosen == pytest.approx(metrics[f"slope_{way}"] / -x)


def test_values_one_by_one():
    """The largest k3 is that of the largest sample."""
    (a,) = draws(3, (100,))
    rows, metrics = measure("kl_estimators", 3, x=2.0, n=100)
    d = 2 * a.max() - 2
    assert metrics["largest_k3"] == pytest.approx(max(math.expm1(d) - d, *(math.expm1(v) - v for v in 2 * a - 2)))
    assert rows[-1]["k1"] == pytest.approx(metrics["noise_k1"])
