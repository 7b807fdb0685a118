"""Tests the experiment newton_schulz against the iteration on matrices in numpy, and on single numbers."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


def polynomial(s: float, steps: int = 5) -> float:
    for _ in range(steps):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return s


@pytest.mark.parametrize(("x", "spread"), [(1.0, 30.0), (1e-3, 4.0)])
def test_singular_values_by_the_matrix_iteration(x, spread):
    """Computed in float64 with other singular vectors, on which the result does not depend."""
    (random,) = draws(7, (32, 64), double=True)
    u, _, v = np.linalg.svd(random, full_matrices=False)
    g = u * (x * spread ** -np.linspace(0, 1, 32)) @ v
    g = g / (np.linalg.norm(g) + 1e-7)
    for _ in range(5):
        gram = g @ g.T
        g = 3.4445 * g + (-4.775 * gram + 2.0315 * gram @ gram) @ g
    found = np.linalg.svd(g, compute_uv=False)
    metrics = measured("newton_schulz", x=x, spread=spread)
    assert metrics["theory_largest"] == pytest.approx(found[0], rel=1e-4)
    assert metrics["theory_smallest"] == pytest.approx(found[-1], rel=1e-4)
    assert metrics["largest"] == pytest.approx(found[0], rel=0.05)


def test_bfloat16_is_good_enough():
    """Its error is about eight times float16's, and singular values end in the intended range."""
    rows, metrics = measure("newton_schulz")
    assert len(rows) == 6
    assert metrics["within"] == 1
    assert 4 < metrics["difference"] / metrics["float16_difference"] < 16


def test_without_norm_one_it_explodes():
    """A singular value of 2 grows beyond all bounds, even in exact arithmetic; one of 1 does not."""
    assert abs(polynomial(2.0, 4)) > 1e6
    assert measured("newton_schulz", normalise=False, x=2.0)["finite"] == 0
    assert measured("newton_schulz", normalise=False, x=1.0)["within"] == 1
    assert math.isnan(measured("newton_schulz", normalise=False, x=2.0)["largest"])


def test_a_tiny_gradient_is_not_normalised():
    """A norm of 10⁻⁹ is small compared with the 10⁻⁷ that is added to it."""
    metrics = measured("newton_schulz", x=1e-9)
    size = 1e-9 * math.sqrt(sum(30 ** (-2 * k / 31) for k in range(32))) + 1e-7
    assert metrics["theory_smallest"] == pytest.approx(polynomial(1e-9 / 30 / size), rel=1e-3)
    assert metrics["within"] < 0.9
