"""Tests the experiment sinkhorn_eps against Sinkhorn in numpy's float64 and the best assignment."""

import numpy as np
import pytest
from oracles import INF, draws, measure, measured
from scipy.optimize import linear_sum_assignment


def costs(seed: int, n: int, distance: float) -> np.ndarray:
    x, y = draws(seed, (n, 2), (n, 2))
    return ((x[:, None] - (y + np.array([distance, 0]))[None]) ** 2).sum(2)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("eps", "n_iterations"), [(1.0, 5), (2.0, 50)])
def test_the_plan(seed, eps, n_iterations):
    cost, n = costs(seed, 30, 2.0), 30
    kernel, u, v = np.exp(-cost / eps), np.ones(n), np.ones(n)
    for _ in range(n_iterations):
        u = 1 / n / (kernel @ v)
        v = 1 / n / (kernel.T @ u)
    plan = u[:, None] * kernel * v
    metrics = measured("sinkhorn_eps", seed, eps=eps, n=n, distance=2.0, n_iterations=n_iterations)
    error = np.abs(plan.sum(1) - 1 / n).sum()
    assert metrics["marginal"] == pytest.approx(error, rel=1e-2, abs=1e-5)
    assert metrics["marginal_plain"] == pytest.approx(error, rel=1e-2, abs=1e-5)
    assert metrics["cost"] == pytest.approx((plan * cost).sum(), rel=1e-3)


def test_a_small_eps():
    """Rows of K are 0 and the division fails; the plan by logarithms costs nearly what the best assignment does."""
    rows, metrics = measure("sinkhorn_eps")
    assert (metrics["bad"], metrics["marginal_plain"], metrics["first_bad"]) == (1, INF, 1)
    assert metrics["zero_rows"] == pytest.approx(
        (np.exp(-costs(0, 40, 4.0) / 0.1).astype(np.float32) == 0).all(1).mean()
    )
    cost = costs(0, 40, 4.0)
    assert metrics["cost"] == pytest.approx(cost[linear_sum_assignment(cost)].mean(), rel=0.05)
    assert rows[-1]["logs"] < 0.01


def test_a_large_eps_is_fine():
    assert measured("sinkhorn_eps", eps=5.0)["bad"] == 0
