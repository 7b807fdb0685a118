"""Tests the experiment svm_autograd against a box-constrained quadratic programme solved by another algorithm."""

import numpy as np
import pytest
from oracles import draws, measured

from qa_service.errors import BadParameter


def optimum(n: int, c: float, seed: int = 0, steps: int = 20000) -> float:
    """The dual's maximum by accelerated projected gradient ascent, on the same points."""
    y = np.array([1.0, -1.0] * n)[:n]
    (x,) = draws(seed, (n, 2), double=True)
    rows = np.column_stack([x + y[:, None], np.ones(n)]) * y[:, None]
    gram = rows @ rows.T
    rate = 1 / np.linalg.eigvalsh(gram)[-1]
    alpha = ahead = np.zeros(n)
    for t in range(steps):
        new = np.clip(ahead + rate * (1 - gram @ ahead), 0, c)
        ahead, alpha = new + t / (t + 3) * (new - alpha), new
    return float(alpha.sum() - alpha @ gram @ alpha / 2)


@pytest.mark.parametrize(("n", "c"), [(50, 1.0), (60, 0.1), (2, 1.0)])
def test_svm_autograd_brackets_the_optimum(n, c):
    """The dual value is at most the optimum, and the objective of any w at least that; both lie within the reported
    gap.
    """
    metrics, best = measured("svm_autograd", n=n, c=c), optimum(n, c)
    assert metrics["dual_value"] <= best * (1 + 1e-6)
    assert metrics["primal_autograd"] >= best * (1 - 1e-6)
    assert metrics["primal_autograd"] == pytest.approx(best, rel=0.01)
    assert metrics["primal_of_dual"] == pytest.approx(best, rel=0.01)
    assert metrics["rel_gap"] == pytest.approx(metrics["primal_autograd"] / metrics["dual_value"] - 1, abs=1e-12)


@pytest.mark.parametrize("params", [{}, {"n": 50}, {"c": 0.1}])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_svm_autograd_reaches_the_dual(params, seed):
    """Within 1 % of the dual value, the same accuracy; one step is not enough."""
    metrics = measured("svm_autograd", seed, **params)
    assert -1e-9 < metrics["rel_gap"] < 0.01
    assert metrics["acc_difference"] <= 0.01
    assert measured("svm_autograd", seed, steps=1, **params)["rel_gap"] > 0.01


def test_svm_autograd_edges():
    """Two points, the smallest price and the largest run; below the bound ‖w‖² is all there is, so it is refused."""
    assert measured("svm_autograd", n=2)["acc_autograd"] == 1
    assert measured("svm_autograd", c=0.001)["rel_gap"] == pytest.approx(0, abs=1e-9)
    assert measured("svm_autograd", n=500, c=100.0, steps=2000)["acc_difference"] < 0.02
    with pytest.raises(BadParameter):
        measured("svm_autograd", c=1e-6)
