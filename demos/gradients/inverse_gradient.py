"""Backward through an inverse multiplies by the inverse twice: the gradient grows like the condition number squared.

A is symmetric, `size` × `size`, its eigenvalues from 1 down to 1/`condition` in equal ratios, its eigenvectors random;
b and c are N(0, 1). The loss is c·x with A x = b, in float32. Its gradient with respect to A is −(A⁻¹c)xᵀ: both factors
have a size of about `condition`. inverse: x = inv(A)·b. solve: x = solve(A, b). damped: x =
solve(A + ridge·1, b), another function, with another gradient. Errors of the gradient are relative and measured against
the gradient of the same function in float64. Rows: condition 1, √10, 10 … up to `condition`. float32 has seven digits:
near a condition of 1e7 nothing of x is right, and A is singular as far as the format can tell. Eigenvectors, b and c
are random. Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 7 and 14.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "对病态矩阵的逆求导", "en": "Backward through the inverse of an ill-conditioned matrix"}
PARAMS = {
    "condition": {"zh": "条件数", "en": "condition number", "ge": 1, "le": 1e12},
    "ridge": {"zh": "加在对角线上的数", "en": "number added to the diagonal", "ge": 0, "le": 1},
    "size": {"zh": "矩阵大小", "en": "size of the matrix", "ge": 2, "le": 64},
}
COLUMNS = {
    "condition": {"zh": "条件数", "en": "condition number"},
    "inverse": {"zh": "先求逆：梯度范数", "en": "by the inverse: gradient norm"},
    "solve": {"zh": "解方程：梯度范数", "en": "by solve: gradient norm"},
    "damped": {"zh": "加对角后：梯度范数", "en": "damped: gradient norm"},
}
METRICS = {
    "inverse_norm": {"zh": "先求逆：梯度范数", "en": "by the inverse: gradient norm"},
    "solve_norm": {"zh": "解方程：梯度范数", "en": "by solve: gradient norm"},
    "damped_norm": {"zh": "加对角后：梯度范数", "en": "damped: gradient norm"},
    "inverse_err": {"zh": "先求逆：梯度的相对误差", "en": "by the inverse: relative error of the gradient"},
    "solve_err": {"zh": "解方程：梯度的相对误差", "en": "by solve: relative error of the gradient"},
    "damped_err": {"zh": "加对角后：梯度的相对误差", "en": "damped: relative error of the gradient"},
    "exact_norm": {"zh": "float64 的梯度范数", "en": "gradient norm in float64"},
    "growth": {"zh": "相对条件数 1，梯度是几倍", "en": "gradient over that at a condition of 1"},
}
CHART = {
    "transform": [{"fold": ["inverse", "solve", "damped"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "condition", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(condition: float = 1e6, ridge: float = 0.001, size: int = 8) -> Generator[Row, None, Metrics]:
    q = torch.linalg.qr(torch.randn(size, size).double())[0]
    b, c = torch.randn(2, size).double()
    for k in range(math.floor(2 * math.log10(condition)) + 1):
        a = matrix(q, 10 ** (k / 2))
        norms = {
            way: gradient(way, a.float(), b.float(), c.float(), ridge).norm().item()
            for way in ("inverse", "solve", "damped")
        }
        yield {"condition": 10 ** (k / 2)} | norms
    a = matrix(q, condition)
    found: Metrics = {}
    for way in ("inverse", "solve", "damped"):
        measured, exact = gradient(way, a.float(), b.float(), c.float(), ridge).double(), gradient(way, a, b, c, ridge)
        found[f"{way}_norm"] = measured.norm().item()
        found[f"{way}_err"] = ((measured - exact).norm() / exact.norm()).item()
    exact = gradient("solve", a, b, c, ridge).norm().item()
    return found | {
        "exact_norm": exact,
        "growth": exact / gradient("solve", matrix(q, 1.0), b, c, ridge).norm().item(),
    }


def matrix(q: Tensor, condition: float) -> Tensor:
    """Symmetric, with eigenvectors q and eigenvalues from 1 down to 1/condition in equal ratios, float64."""
    size = len(q)
    return q * condition ** (-torch.arange(size).double() / (size - 1)) @ q.T


def gradient(way: str, a: Tensor, b: Tensor, c: Tensor, ridge: float) -> Tensor:
    """Of c·x with respect to A; nan throughout where torch calls A singular."""
    x = a.clone().requires_grad_()
    try:
        if way == "inverse":
            solution = torch.linalg.inv(x) @ b
        else:
            solution = torch.linalg.solve(x + ridge * torch.eye(len(a), dtype=a.dtype) if way == "damped" else x, b)
    except torch.linalg.LinAlgError:
        return torch.full_like(a, math.nan)
    return torch.autograd.grad(solution @ c, x)[0]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
