"""Tests the experiment latent_collapse against the optimum of a linear VAE, found without training."""

import math

import numpy as np
import pytest
from oracles import measured
from scipy.optimize import minimize_scalar


def best_kl(variance: float, weight: float, beta: float) -> float:
    """The KL of one latent direction at its optimum over the posterior's variance, with the best decoder and encoder.

    With posterior variance s and encoder gain v the best decoder is w = vλ/(v²λ + s); at the optimum v²λ = 1 − s.
    """

    def loss(s: float) -> float:
        error = variance * s  # what is left of λ when the latent has variance 1 in all, of which s is noise
        return weight / 2 * error + beta * -0.5 * math.log(s)

    s = minimize_scalar(loss, bounds=(1e-9, 1), method="bounded", options={"xatol": 1e-12}).x
    return -0.5 * math.log(s)


@pytest.mark.parametrize(("beta", "pixels", "factors"), [(1.0, 64, 3), (0.1, 64, 3), (0.05, 32, 2), (3.0, 128, 2)])
def test_kl_at_the_end(beta, pixels, factors):
    metrics = measured("latent_collapse", beta=beta, pixels=pixels, factors=factors, latents=factors, n=1000)
    variances = [0.2 * pixels / place for place in range(1, factors + 1)]
    for way, weight in (("averaged", 2 / pixels), ("summed", 1.0)):
        right = sum(best_kl(variance, weight, beta) for variance in variances)
        assert metrics[f"theory_{way}"] == pytest.approx(right, rel=1e-3, abs=1e-3)
        assert metrics[way] == pytest.approx(right, rel=0.05, abs=0.02)
    assert metrics["threshold"] == pytest.approx(beta * pixels / 2)
    assert metrics["largest_variance"] == pytest.approx(0.2 * pixels)


def test_what_is_reconstructed():
    """Of each direction's variance λ, λ − 1 is reconstructed for β/c = 1."""
    metrics = measured("latent_collapse", n=1000)
    kept = sum(12.8 / place - 1 for place in (1, 2, 3))
    assert metrics["explained_summed"] == pytest.approx(kept / (12.8 * (1 + 1 / 2 + 1 / 3) + 61 * 0.01), abs=0.01)
    assert metrics["explained_averaged"] == pytest.approx(0, abs=1e-3)
    assert metrics["active_averaged"] == 0
    assert np.isfinite(metrics["summed"])


def test_warm_up_ends_at_the_same_optimum():
    cold, warm = (measured("latent_collapse", warm_up=warm_up, n=1000) for warm_up in (False, True))
    assert warm["summed"] == pytest.approx(cold["summed"], rel=0.02)
    assert warm["active_averaged"] == cold["active_averaged"] == 0
