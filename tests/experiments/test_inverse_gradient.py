"""Tests the experiment inverse_gradient against −(A⁻ᵀc)(A⁻¹b)ᵀ in 60-digit arithmetic, by Gaussian elimination over
Decimal.
"""

from decimal import Decimal, getcontext

import pytest
import torch
from oracles import measure, measured

getcontext().prec = 60


def solve(a: list[list[Decimal]], b: list[Decimal]) -> list[Decimal]:
    """Solves a linear system by Gauss–Jordan elimination with the largest pivot."""
    n, m = len(a), [[*row, value] for row, value in zip(a, b, strict=True)]
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: abs(m[i][k]))
        m[k], m[pivot] = m[pivot], m[k]
        for i in range(n):
            if i != k:
                factor = m[i][k] / m[k][k]
                m[i] = [u - factor * v for u, v in zip(m[i], m[k], strict=True)]
    return [m[i][n] / m[i][i] for i in range(n)]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("condition", [10.0, 1e4, 1e6])
def test_the_exact_norm(seed, condition):
    """The gradient has rank one, so its norm is the product of two vectors' norms."""
    torch.manual_seed(seed)
    q = torch.linalg.qr(torch.randn(8, 8).double())[0]
    b, c = torch.randn(2, 8).double().tolist()
    a = (q * condition ** (-torch.arange(8).double() / 7) @ q.T).tolist()
    rows = [[Decimal(value) for value in row] for row in a]
    norms = [
        sum(value * value for value in solve(matrix, [Decimal(v) for v in right])).sqrt()
        for matrix, right in ((rows, b), ([list(column) for column in zip(*rows, strict=True)], c))
    ]
    _, metrics = measure("inverse_gradient", seed, condition=condition)
    assert metrics["exact_norm"] == pytest.approx(float(norms[0] * norms[1]), rel=1e-6)


def test_solve_is_no_cure_and_damping_is_another_function():
    """In float32 inverting and solving lose the same digits; damping loses few, but its gradient is far smaller."""
    metrics = measured("inverse_gradient", condition=1e6)
    assert metrics["solve_err"] > 1e-3
    assert metrics["inverse_err"] > 1e-3
    assert metrics["damped_err"] < 1e-3
    assert metrics["damped_norm"] < metrics["exact_norm"] / 1000
    assert measured("inverse_gradient", condition=10.0)["solve_err"] < 1e-5


def test_growth_with_the_square_of_the_condition():
    """A condition number a hundred times larger gives a gradient ten thousand times larger."""
    growth = [measured("inverse_gradient", condition=condition)["growth"] for condition in (1e5, 1e7)]
    assert growth[1] / growth[0] == pytest.approx(1e4, rel=0.5)
