"""Tests the experiment quad_gd_nd against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.parametrize(("dim", "ratio", "n"), [(20, 1.01, 300), (5, 0.7, 50), (50, 0.99, 200), (1, 1.5, 20)])
def test_quad_gd_nd_is_the_sum_over_eigenvectors(dim, ratio, n):
    """The end in closed form: Σ (1 − lr·λ_i)^n c_i v_i with numpy's eigenvectors."""
    b, x = draws(3, (dim, 2 * dim), (dim,), double=True)
    curvatures, vectors = np.linalg.eigh(b @ b.T / (2 * dim))
    lr = ratio * 2 / curvatures[-1]
    end = vectors @ ((1 - lr * curvatures) ** n * (vectors.T @ x))
    metrics = measured("quad_gd_nd", 3, dim=dim, ratio=ratio, n=n)
    assert metrics["lambda_max"] == pytest.approx(curvatures[-1], rel=1e-10)
    assert metrics["lambda_min"] == pytest.approx(curvatures[0], rel=1e-6)
    assert metrics["lr_critical"] == pytest.approx(2 / curvatures[-1], rel=1e-10)
    assert metrics["final_over_start"] == pytest.approx(np.linalg.norm(end) / np.linalg.norm(x), rel=1e-6)
    assert metrics["theory_growth"] == pytest.approx(abs(1 - lr * curvatures).max(), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_quad_gd_nd_limit(seed):
    """One per cent above 2/λ_max it diverges along the steepest direction, one per cent below it converges."""
    metrics = measured("quad_gd_nd", seed)
    assert metrics["final_over_start"] == metrics["above_over_start"] > 1e6
    assert metrics["below_over_start"] < 1e-3
    assert metrics["alignment"] == pytest.approx(1, abs=1e-6)
    assert metrics["growth"] == pytest.approx(1.02, rel=1e-6)
    assert metrics["power_rel_err"] < 0.01


def test_quad_gd_nd_controls_and_edges():
    """Below the limit nothing grows; with rate 0 nothing moves; ten times the limit ends in nan."""
    assert measured("quad_gd_nd", ratio=0.99)["final_over_start"] < 1
    assert measured("quad_gd_nd", ratio=0.5)["alignment"] < 0.01
    still = measured("quad_gd_nd", ratio=0.0, n=10)
    assert still["final_over_start"] == still["growth"] == 1
    wild = measured("quad_gd_nd", ratio=10.0)
    assert wild["growth"] == pytest.approx(19, rel=1e-5)
    assert wild["final_over_start"] != wild["final_over_start"]
