"""Tests the experiment sharpness_rescale against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import demo, draws, measured

from qa_service.errors import BadParameter


def hessian(first, second, x, y):
    """The Hessian of the mean squared error in closed form, 2/n·(JᵀJ + Σ r·∂²f), unit by unit."""
    n, width = len(x), first.shape[1]
    z = x @ first
    on, h = (z > 0).astype(float), np.maximum(z, 0)
    residual = h @ second - y
    jacobian = np.concatenate(
        [np.einsum("ni,nj->nij", x, on * second[:, 0]).reshape(n, -1), h], axis=1
    )  # weights in the order of first.flatten()
    matrix = jacobian.T @ jacobian
    for i in range(2):
        for j in range(width):
            mixed = (residual[:, 0] * x[:, i] * on[:, j]).sum()
            matrix[i * width + j, 2 * width + j] += mixed
            matrix[2 * width + j, i * width + j] += mixed
    return 2 / n * matrix


@pytest.mark.parametrize("alpha", [1.0, 10.0, 0.1, 100.0])
def test_sharpness_rescale_eigenvalues_in_closed_form(alpha):
    """Training and both eigenvalues are those of a numpy net with the Hessian written down."""
    x, first, second = draws(0, (64, 2), (2, 32), (32, 1), double=True)
    y, second = x[:, :1] * x[:, 1:], second / math.sqrt(32)
    for _ in range(300):
        h = np.maximum(x @ first, 0)
        back = 2 * (h @ second - y) / 64
        g1, g2 = x.T @ ((back @ second.T) * (h > 0)), h.T @ back
        first, second = first - 0.02 * g1, second - 0.02 * g2
    before = np.linalg.eigvalsh(hessian(first, second, x, y))[-1]
    after = np.linalg.eigvalsh(hessian(alpha * first, second / alpha, x, y))[-1]
    metrics = measured("sharpness_rescale", alpha=alpha)
    assert metrics["loss"] == pytest.approx(((np.maximum(x @ first, 0) @ second - y) ** 2).mean())
    assert metrics["top_hessian_before"] == pytest.approx(before, rel=1e-8)
    assert metrics["top_hessian_after"] == pytest.approx(after, rel=1e-8)
    assert metrics["ratio"] == pytest.approx(after / before, rel=1e-8)
    assert metrics["abs_log10_ratio"] == pytest.approx(abs(math.log10(after / before)), abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("alpha", [2.0, 10.0, 100.0])
def test_sharpness_rescale_claims(seed, alpha):
    """The rescaled net is the same function with nearly α² times the sharpness: raw directions show it,
    filter-normalised ones do not.
    """
    metrics = measured("sharpness_rescale", seed, alpha=alpha)
    assert metrics["function_diff"] < 1e-13
    assert metrics["theory_ratio"] == alpha**2
    assert 0.85 * alpha**2 < metrics["ratio"] < 1.001 * alpha**2
    assert metrics["filter_change"] < 1e-9
    assert metrics["filter_after"] == pytest.approx(metrics["filter_before"], rel=1e-9)
    assert metrics["raw_change"] > 0.3


def test_sharpness_rescale_edges():
    """α = 1 changes nothing; α ≤ 0 and 1e308 are refused; −2 is no rescaling: ReLU is positively homogeneous."""
    same = measured("sharpness_rescale", alpha=1.0)
    assert same["ratio"] == 1
    assert same["function_diff"] == same["raw_change"] == same["filter_change"] == 0
    for alpha in (0.0, -2.0, 1e308):
        with pytest.raises(BadParameter):
            measured("sharpness_rescale", alpha=alpha)
    output = demo("sharpness_rescale").output
    import torch

    torch.manual_seed(0)
    x, w, v = torch.randn(9, 2).double(), torch.randn(2, 5).double(), torch.randn(5, 1).double()
    assert (output((-2 * w, v / -2), x) - output((w, v), x)).abs().max() > 0.1
    assert measured("sharpness_rescale", alpha=0.001)["abs_log10_ratio"] > 3
