"""Muon's Newton–Schulz iteration does not mind bfloat16; it minds a gradient that was not brought to norm 1 first.

G is a 32 × 64 matrix with singular values from 1 down to 1/`spread`, evenly in logarithm, times `x`. Five steps of X ←
a·X + (b·XXᵀ + c·(XXᵀ)²)·X with Muon's (a, b, c) = (3.4445, −4.775, 2.0315) bring singular values of a matrix of norm 1
to about 1, not exactly: to 0.7 … 1.2 by design. Each product is rounded to the format; sums are in float32. X starts
as G/(‖G‖ + 10⁻⁷) (`normalise`), the Frobenius norm being computed in float32, or as G itself.

Theory: with s a singular value a step is s ← a·s + b·s³ + c·s⁵, in exact arithmetic; small ones grow by 3.4445 a step,
5 steps by 485, so that what is below 1/500 of the norm stays small. An s above about 1.3 is thrown beyond all bounds.
A gradient far below 10⁻⁷ is not normalised either: X starts small. Random: the singular vectors.
Source: Jordan et al. 2024, Muon; Bernstein & Newhouse 2024, Old optimizer, new norm; Björck & Bowie 1971.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "Newton–Schulz 正交化与 bfloat16", "en": "Newton–Schulz in bfloat16"}
PARAMS = {
    "x": {"zh": "梯度放大", "en": "gradient times", "ge": 1e-12, "le": 1e6},
    "spread": {"zh": "最大与最小奇异值之比", "en": "largest over smallest singular value", "ge": 1, "le": 1e6},
    "normalise": {"zh": "先除以范数", "en": "divided by the norm first"},
}
COLUMNS = {
    "step": {"zh": "迭代", "en": "iteration"},
    "theory": {"zh": "最大奇异值（准确）", "en": "largest singular value (exact)"},
    "bfloat16": {"zh": "最大奇异值（bfloat16）", "en": "largest singular value (bfloat16)"},
    "smallest": {"zh": "最小奇异值（bfloat16）", "en": "smallest singular value (bfloat16)"},
}
METRICS = {
    "largest": {"zh": "bfloat16：最大奇异值", "en": "bfloat16: largest singular value"},
    "smallest": {"zh": "bfloat16：最小奇异值", "en": "bfloat16: smallest singular value"},
    "within": {"zh": "奇异值在 0.6 到 1.3 之间的比例", "en": "fraction of singular values from 0.6 to 1.3"},
    "difference": {"zh": "bfloat16 与准确结果之差", "en": "bfloat16 against exact arithmetic"},
    "float16_difference": {"zh": "float16 与准确结果之差", "en": "float16 against exact arithmetic"},
    "theory_largest": {"zh": "最大奇异值（准确）", "en": "largest singular value (exact)"},
    "theory_smallest": {"zh": "最小奇异值（准确）", "en": "smallest singular value (exact)"},
    "finite": {"zh": "bfloat16 结果是有限数", "en": "the result in bfloat16 is finite"},
}
CHART = {
    "transform": [{"fold": ["theory", "bfloat16", "smallest"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
A, B, C = 3.4445, -4.775, 2.0315


def run(x: float = 1.0, spread: float = 30.0, normalise: bool = True) -> Generator[Row, None, Metrics]:
    left = torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(64, 32, dtype=torch.float64))[0]
    values = x * spread ** -torch.linspace(0, 1, 32, dtype=torch.float64)
    gradient = (left * values) @ right.T
    if normalise:
        size = gradient.float().norm().double() + 1e-7
        gradient, values = gradient / size, values / size
    forms = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    stored = {name: gradient.to(form) for name, form in forms.items()}
    for step in range(6):
        if step:
            values = A * values + B * values**3 + C * values**5
            stored = {name: iterated(matrix) for name, matrix in stored.items()}
        found = singular(stored["bfloat16"])
        yield {
            "step": step,
            "theory": values.abs().max().item(),
            "bfloat16": found.max().item(),
            "smallest": found.min().item(),
        }
    exact = (left * values) @ right.T
    return {
        "largest": found.max().item(),
        "smallest": found.min().item(),
        "within": ((found >= 0.6) & (found <= 1.3)).double().mean().item(),
        "difference": relative(stored["bfloat16"], exact),
        "float16_difference": relative(stored["float16"], exact),
        "theory_largest": values.abs().max().item(),
        "theory_smallest": values.abs().min().item(),
        "finite": float(stored["bfloat16"].isfinite().all()),
    }


def iterated(matrix: Tensor) -> Tensor:
    """One step of the iteration, each product and sum rounded to the dtype of the matrix."""
    gram = product(matrix, matrix.T)
    return A * matrix + product(B * gram + C * product(gram, gram), matrix)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a·b, accumulated in float32 and rounded."""
    return (a.float() @ b.float()).to(a.dtype)


def singular(matrix: Tensor) -> Tensor:
    """The singular values; nan if the matrix is not finite."""
    if not matrix.isfinite().all():
        return torch.full((32,), torch.nan, dtype=torch.float64)
    return torch.linalg.svdvals(matrix.double())


def relative(found: Tensor, exact: Tensor) -> float:
    """The Frobenius norm of the difference over that of the exact result."""
    return float((found.double() - exact).norm() / exact.norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
