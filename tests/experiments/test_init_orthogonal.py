"""Tests the experiment init_orthogonal against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import INF, demo, measured


@pytest.mark.parametrize(("layers", "width"), [(12, 6), (20, 8)])
def test_init_orthogonal_gaussian_condition_by_mpmath(layers, width):
    """The product multiplied out with 80 digits has the same condition number."""
    import torch

    torch.manual_seed(0)
    torch.randn(width)  # the input
    for _ in range(layers):
        torch.randn(width, width)  # the orthogonal ones come first
    with mpmath.workdps(80):
        product = mpmath.eye(width)
        for _ in range(layers):
            product = mpmath.matrix((torch.randn(width, width).double() / math.sqrt(width)).tolist()) * product
        values = mpmath.svd_r(product, compute_uv=False)
        exact = float(mpmath.log10(values[0] / values[width - 1]))
    metrics = measured("init_orthogonal", layers=layers, width=width)
    assert metrics["gaussian_log10_condition"] == pytest.approx(exact, abs=1e-4)
    assert abs(metrics["orthogonal_log10_condition"]) < 1e-12


def test_init_orthogonal_theory():
    """The theory is [ψ(n/2) − ψ(1/2)]/2 per layer, by mpmath; over 200 layers the measured number is near it."""
    metrics = measured("init_orthogonal", layers=200, width=16)
    exact = 200 * float((mpmath.digamma(8) - mpmath.digamma(0.5)) / 2 / mpmath.log(10))
    assert metrics["theory_log10_condition"] == pytest.approx(exact)
    assert metrics["gaussian_log10_condition"] == pytest.approx(exact, rel=0.15)


def test_init_orthogonal_relu_jacobian():
    """The ReLU Jacobian's even share, (Σσ²)²/(n·Σσ⁴), is that of numpy's singular values; a dead unit makes it
    singular.
    """
    import torch

    torch.manual_seed(0)
    h, jacobian = torch.randn(10).double().numpy(), np.eye(10)
    for _ in range(3):
        w = demo("init_orthogonal").matrix("orthogonal", 10).numpy() * math.sqrt(2 / 10)
        np.testing.assert_allclose(w @ w.T, 2 * np.eye(10), atol=1e-10)
        z = w @ h
        h, jacobian = np.maximum(z, 0), np.where(z > 0, 1, 0)[:, None] * (w @ jacobian)
    values = np.linalg.svd(jacobian, compute_uv=False)
    metrics = measured("init_orthogonal", act="relu", layers=3, width=10)
    assert metrics["orthogonal_even_share"] == pytest.approx((values**2).sum() ** 2 / (values**4).sum() / 10)
    assert metrics["orthogonal_log10_condition"] == INF
    assert metrics["theory_log10_condition"] is None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_init_orthogonal_claims(seed):
    """Orthogonal weights have condition number 1, Gaussian ones more than 1e6; with ReLU the advantage disappears."""
    metrics = measured("init_orthogonal", seed)
    assert abs(metrics["orthogonal_log10_condition"]) < 1e-9
    assert metrics["orthogonal_even_share"] == pytest.approx(1)
    assert metrics["gaussian_log10_condition"] > 6
    assert metrics["even_share_ratio"] > 8
    assert measured("init_orthogonal", seed, act="relu")["even_share_ratio"] < 8
