"""Tests the experiment residual_jacobian against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured

FACTOR = {
    "one": lambda n: 1.0,
    "inv_sqrt": lambda n: 1 / math.sqrt(n),
    "inv_depth": lambda n: 1 / n,
    "zero": lambda n: 0,
}


@pytest.mark.parametrize("scale", FACTOR)
@pytest.mark.parametrize(("layers", "width"), [(12, 8), (1, 5)])
def test_residual_jacobian_against_differences(scale, layers, width):
    """The Jacobian by differences of the forward pass in numpy, which needs no chain rule."""
    c = FACTOR[scale](layers)
    h0, *raw = draws(0, (width,), *[(width, width)] * (2 * layers), double=True)

    def forward(h):
        for w, v in zip(raw[::2], raw[1::2], strict=True):
            h = h + c * (v / math.sqrt(width)) @ np.maximum(w * math.sqrt(2 / width) @ h, 0)
        return h

    step = 1e-7
    jacobian = np.stack([(forward(h0 + step * e) - forward(h0 - step * e)) / (2 * step) for e in np.eye(width)], 1)
    metrics = measured("residual_jacobian", layers=layers, width=width, scale=scale)
    assert metrics["stretch"] == pytest.approx(np.linalg.norm(jacobian) / math.sqrt(width), rel=1e-6)
    assert metrics["theory_stretch"] == pytest.approx((1 + c * c) ** (layers / 2))
    assert metrics["variance_gain"] == pytest.approx(np.mean(forward(h0) ** 2) / np.mean(h0**2), rel=1e-9)
    assert metrics["product_error"] < 1e-13
    assert metrics["stretch_off_one"] == abs(metrics["stretch"] - 1)


@pytest.mark.parametrize("seed", range(4))
def test_residual_jacobian_sum_is_only_first_order(seed):
    """The sum is exact for one block, nearly right at a scale of 1/L, and useless for an unscaled net."""
    assert measured("residual_jacobian", seed, layers=1)["sum_error"] < 1e-13
    assert measured("residual_jacobian", seed, scale="inv_depth")["sum_error"] < 0.03
    assert measured("residual_jacobian", seed, scale="inv_sqrt")["sum_error"] > 0.3
    assert measured("residual_jacobian", seed)["sum_error"] > 0.99


@pytest.mark.parametrize("layers", [1, 50, 200])
def test_residual_jacobian_zero_branch(layers):
    """Identity to the bit at any depth; the weights of the branches have no gradient, their factors have one."""
    rows, metrics = measure("residual_jacobian", layers=layers, scale="zero")
    assert metrics["stretch"] == metrics["variance_gain"] == 1
    assert metrics["stretch_off_one"] == metrics["branch_grad"] == metrics["sum_error"] == 0
    assert metrics["alpha_grad"] > 1
    assert rows[-1]["layer"] == layers


def test_residual_jacobian_float32_rounds():
    """In float32 automatic differentiation and the product of factors differ only by rounding errors."""
    assert 1e-9 < measured("residual_jacobian", dtype="float32")["product_error"] < 1e-4
