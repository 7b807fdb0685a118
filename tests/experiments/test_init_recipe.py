"""Tests the experiment init_recipe against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import INF, PHI, Z, draws, expectation, measured

CUT = float(mpmath.sqrt(1 - 4 * mpmath.npdf(2) / mpmath.erf(mpmath.sqrt(2))))
TIMES_N = {
    "linear_default": 1 / 3, "kaiming": 2, "kaiming_uniform": 2, "uniform_by_std": 2 / 3, "trunc": 2 * CUT**2,
    "trunc_rescaled": 2, "rademacher": 2, "xavier": 1, "lecun": 1, "leaky": 2 / 1.04, "tanh_gain": 25 / 9,
    "fixed_std": 256 * 0.02**2,
}  # fmt: skip


@pytest.mark.parametrize("init", TIMES_N)
def test_init_recipe_variance_and_gain(init):
    """Each recipe has the variance that its name states (the truncated normal by mpmath), and with ReLU the gain
    n·Var(W)/2.
    """
    metrics = measured("init_recipe", init=init, layers=5)
    assert metrics["theory_var_times_n"] == pytest.approx(TIMES_N[init])
    assert metrics["var_times_n"] == pytest.approx(TIMES_N[init], rel=0.01)
    assert metrics["theory_gain"] == pytest.approx(TIMES_N[init] / 2, rel=1e-4)
    assert metrics["gain"] == pytest.approx(TIMES_N[init] / 2, rel=0.15)
    assert metrics["grad_rate"] == pytest.approx(math.sqrt(TIMES_N[init] / 2), rel=0.1)


def test_init_recipe_forward_and_backward():
    """Moments, share of the input and gradient equal those of a numpy net with a backward pass written by hand."""
    x, *matrices, noise = draws(0, (6, 9), (9, 9), (9, 9), (9, 9), (6, 9))
    h, slopes = x, []
    for w in matrices:
        z = h @ (w * (5 / 3) / 3)
        h = np.tanh(z)
        slopes.append(1 - h**2)
    back = noise
    for w, slope in zip(reversed(matrices), reversed(slopes), strict=True):
        back = (back * slope) @ (w * (5 / 3) / 3).T
    metrics = measured("init_recipe", init="tanh_gain", act="tanh", layers=3, width=9, batch=6)
    assert metrics["out_rms"] == pytest.approx(math.sqrt((h**2).mean()))
    assert metrics["out_mean"] == pytest.approx(h.mean())
    assert metrics["out_var"] == pytest.approx(h.var())
    assert metrics["total_gain"] == pytest.approx((h**2).mean() / (x**2).mean())
    assert metrics["input_share"] == pytest.approx(z.var(0).mean() / (z**2).mean())
    rate = (np.linalg.norm(back) / np.linalg.norm(noise)) ** (1 / 3)
    assert metrics["grad_rate"] == pytest.approx(rate)


@pytest.mark.parametrize(("init", "act", "sigma2"), [("xavier", "tanh", 1), ("tanh_gain", "tanh", 25 / 9)])
def test_init_recipe_mean_field(init, act, sigma2):
    """The theoretical gain is that of the mean-field recursion to the same depth, on another grid."""
    moment = 1.0
    for _ in range(12):
        moment = expectation(PHI[act][0](math.sqrt(sigma2 * moment) * Z) ** 2)
    metrics = measured("init_recipe", init=init, act=act, layers=12)
    assert metrics["theory_gain"] == pytest.approx(moment ** (1 / 12), rel=1e-5)
    assert metrics["gain"] == pytest.approx(metrics["theory_gain"], rel=0.02)


def test_init_recipe_selu_and_lecun_fixed_point():
    """E[selu(z)] = 0 and E[selu(z)²] = 1 for a standard normal z, so LeCun's variance stays."""
    metrics = measured("init_recipe", init="lecun", act="selu", layers=50)
    assert metrics["theory_gain"] == pytest.approx(1, abs=1e-6)
    assert abs(metrics["out_mean"]) < 0.1
    assert metrics["out_var_distance"] < 0.2
    assert measured("init_recipe", init="kaiming", act="selu", layers=50)["out_var"] > 20


@pytest.mark.parametrize("seed", [0, 1])
def test_init_recipe_lsuv_keeps_the_variance_not_the_signal(seed):
    """The pooled variance is 1 for any activation, but with sigmoid different inputs cannot be told apart after 20
    layers.
    """
    for act in ("sigmoid", "relu", "tanh", "gelu"):
        metrics = measured("init_recipe", seed, init="lsuv", act=act)
        assert metrics["pre_moment"] == pytest.approx(1, abs=1e-9)
        assert metrics["theory_var_times_n"] is None
    assert measured("init_recipe", seed, init="lsuv", act="sigmoid")["input_share"] < 1e-10
    assert measured("init_recipe", seed, init="lsuv", act="tanh")["input_share"] > 0.5


def test_init_recipe_kurtosis_of_signs():
    """With ±1 weights it is −2·Σx⁴/(Σx²)²: about −6/n, and −2 for a single input; the sample agrees within its
    noise.
    """
    for width, noise in ((1, 1e-9), (4, 0.05), (256, 0.15)):
        metrics = measured("init_recipe", init="rademacher", width=width, layers=1)
        (x,) = draws(0, (64, width))
        exact = -2 * (x[0] ** 4).sum() / (x[0] ** 2).sum() ** 2
        assert metrics["theory_excess_kurtosis"] == pytest.approx(exact)
        assert metrics["excess_kurtosis"] == pytest.approx(exact, abs=noise)
        assert metrics["kurtosis_distance"] == abs(metrics["excess_kurtosis"])


def test_init_recipe_edges():
    """A dead net of width 1, or std = 0, gives 0 instead of an error; a slope of 1 is a linear layer."""
    dead = measured("init_recipe", width=1)
    assert dead["gain"] == dead["grad_rate"] == 0
    assert dead["abs_log_gain"] == INF
    assert math.isnan(dead["input_share"])
    zero = measured("init_recipe", init="fixed_std", std=0.0, layers=2, width=8)
    assert zero["out_rms"] == zero["theory_gain"] == 0
    assert math.isnan(zero["excess_kurtosis"])
    assert measured("init_recipe", init="leaky", act="leaky_relu", slope=1.0)["gain"] == pytest.approx(1, rel=0.02)
    assert measured("init_recipe", layers=200, width=64)["total_gain"] > 0
