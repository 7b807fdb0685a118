"""Tests the experiment gamma_beta against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import demo, measured


@pytest.mark.parametrize("act", ["relu", "sigmoid", "tanh"])
def test_gamma_beta_folding(act):
    """Folding γ > 0 into the next weights is exact for ReLU only, also where β/γ is kept; dropping β never is."""
    metrics = measured("gamma_beta", n=0, act=act)
    exact = act == "relu"
    assert (metrics["fold_gamma_error"] < 1e-13) is exact
    assert (metrics["fold_gamma_keep_beta_error"] < 1e-13) is exact
    assert metrics["dropping_beta_error"] > 0.5


def test_gamma_beta_folding_against_numpy():
    """The largest deviation after dropping β, from the same draws in numpy."""
    import torch
    from torch import nn

    torch.manual_seed(5)
    errors = demo("gamma_beta").fold(nn.Tanh())
    torch.manual_seed(5)
    kind = {"dtype": torch.float64}
    z, w = torch.randn(64, 32, **kind).numpy(), torch.randn(32, 16, **kind).numpy()
    gamma, beta = torch.rand(32, **kind).numpy() + 0.5, torch.randn(32, **kind).numpy()
    dropped = np.tanh(gamma * z + beta) @ w - np.tanh(z) @ np.diag(gamma) @ w
    folded = np.tanh(gamma * z) @ w - np.tanh(z) @ np.diag(gamma) @ w
    assert errors["dropping_beta_error"] == pytest.approx(np.abs(dropped).max(), rel=1e-10)
    assert errors["fold_gamma_error"] == pytest.approx(np.abs(folded).max(), rel=1e-10)


@pytest.mark.parametrize("params", [{"n": 0}, {"lr": 0.0, "n": 20}])
def test_gamma_beta_before_training(params):
    """As γ = 1 and β = 0 initially, the three nets with BN are equal before training."""
    metrics = measured("gamma_beta", **params)
    assert metrics["affine_acc"] == metrics["no_affine_acc"] == metrics["only_affine_acc"]
    assert metrics["affine_loss"] == metrics["no_affine_loss"] == metrics["only_affine_loss"]
    assert metrics["affine_gain"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gamma_beta_claims(seed):
    """ReLU trains without γ and β (above 0.85); γ and β alone already do better than chance by far."""
    metrics = measured("gamma_beta", seed)
    assert metrics["no_affine_acc"] > 0.85
    assert metrics["affine_acc"] >= metrics["no_affine_acc"] - 0.02
    assert metrics["only_affine_acc"] > 0.65
    assert metrics["affine_gain"] == metrics["affine_acc"] - metrics["no_affine_acc"]


def test_gamma_beta_odd_nets_cannot():
    """Without β a tanh net is an odd function plus a constant, which cannot learn a disc; with β it is far better."""
    metrics = measured("gamma_beta", act="tanh", n=400)
    assert metrics["no_affine_acc"] < 0.75 < metrics["affine_acc"]
