"""The norm of a product of random matrices grows or shrinks exponentially, and the entries' spread decides which.

n independent d×d matrices with entries N(0, std²) are multiplied one after the other, as backpropagation multiplies
the Jacobians of n layers. The Frobenius norm is followed in float64, renormalised after every factor, so that it can
neither overflow nor underflow; beside it the same product is formed in `dtype` as it stands, until one of its entries
is no longer finite or all of them are 0. Theory for n → ∞: ln‖Wₙ⋯W₁‖ / n → λ = ln std + ½(ln 2 + ψ(d/2)), ψ the
digamma function; λ = 0 at the critical std. A short product is larger than e^(λn), by a factor of about √d.
Source: Newman 1986, The distribution of Lyapunov exponents: exact results for random matrices.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "随机矩阵连乘", "en": "Product of random matrices"}
PARAMS = {
    "n": {"zh": "矩阵个数", "en": "how many matrices", "ge": 1, "le": 10000},
    "d": {"zh": "矩阵阶数", "en": "size of a matrix", "ge": 1, "le": 128},
    "std": {"zh": "元素的标准差", "en": "standard deviation of an entry", "ge": 0, "le": 1000, "nonfinite": True},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
LIMITS = [{"product": ["n", "d"], "le": 200000}]
COLUMNS = {
    "step": {"zh": "第几个矩阵", "en": "matrix number"},
    "log10_norm": {"zh": "实测范数的 log10", "en": "log10 of the norm, measured"},
    "log10_theory": {"zh": "理论值的 log10", "en": "log10 of the norm, theory"},
}
METRICS = {
    "norm": {"zh": "乘积的范数", "en": "norm of the product"},
    "theory_norm": {"zh": "理论上的范数", "en": "norm in theory"},
    "log10_norm": {"zh": "乘积范数的 log10", "en": "log10 of the product's norm"},
    "log10_theory": {"zh": "理论上的 log10", "en": "log10 in theory"},
    "log_growth_per_step": {"zh": "每个矩阵带来的对数增长", "en": "log growth per matrix"},
    "theory_lyapunov": {"zh": "理论增长率 λ", "en": "growth rate λ in theory"},
    "growth_error": {"zh": "增长率与理论之差", "en": "distance of the growth rate from theory"},
    "theory_critical_std": {"zh": "临界标准差", "en": "critical standard deviation"},
    "first_nonfinite_step": {"zh": "直接相乘首次溢出", "en": "plain product first overflows", "unit": "step"},
    "theory_overflow_step": {"zh": "理论溢出步", "en": "overflow step in theory", "unit": "step"},
    "first_zero_step": {"zh": "直接相乘首次全为 0", "en": "plain product first is all 0", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["log10_norm", "log10_theory"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# what a matrix does to the mean square of the norm: E‖W·p‖² = d·std²·‖p‖²
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "multiply", "x": ["std", "std", "d"]}}]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    n: int = 100,
    d: int = 4,
    std: float = 1.0,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float64",
) -> Generator[Row, None, Metrics]:
    log_std = math.log(abs(std)) if std else -math.inf  # the law of the entries is symmetric: −std is std
    rate = log_std + lyapunov(d)
    product = torch.eye(d, dtype=torch.float64)
    plain = torch.eye(d, dtype=getattr(torch, dtype))
    log_norm = 0.0
    first_nonfinite = first_zero = None
    every = max(1, n // 200)
    for step in range(1, n + 1):
        matrix = torch.randn(d, d, dtype=torch.float64)
        product, log_norm = normalised(matrix @ product, log_norm + log_std)
        if first_nonfinite is None and first_zero is None:
            plain = (std * matrix).to(plain.dtype) @ plain
            first_nonfinite = None if plain.isfinite().all() else step
            first_zero = step if (plain == 0).all() else None
        if step % every == 0 or step == n or step in (first_nonfinite, first_zero):
            yield {"step": step, "log10_norm": log_norm / math.log(10), "log10_theory": step * rate / math.log(10)}
    return {
        "norm": exp(log_norm),
        "theory_norm": exp(n * rate),
        "log10_norm": log_norm / math.log(10),
        "log10_theory": n * rate / math.log(10),
        "log_growth_per_step": log_norm / n,
        "theory_lyapunov": rate,
        "growth_error": abs(log_norm / n - rate),
        "theory_critical_std": math.exp(-lyapunov(d)),
        "first_nonfinite_step": first_nonfinite,
        "theory_overflow_step": overflow_in_theory(rate, dtype),
        "first_zero_step": first_zero,
    }


def normalised(product: torch.Tensor, log_scale: float) -> tuple[torch.Tensor, float]:
    """The product scaled to norm 1, and the logarithm of its norm without any scaling."""
    norm = float(product.norm())
    return product / norm, log_scale + math.log(norm)


def lyapunov(d: int) -> float:
    """½(ln 2 + ψ(d/2)): how much the logarithm of the norm grows per factor when std is 1 (Newman 1986)."""
    return (math.log(2) + float(torch.special.digamma(torch.tensor(d / 2, dtype=torch.float64)))) / 2


def exp(x: float) -> float:
    """e^x, which is inf where float64 ends."""
    return float(torch.tensor(x, dtype=torch.float64).exp())


def overflow_in_theory(rate: float, dtype: str) -> int | None:
    """The step at which e^(λ·step) passes the largest number; None where the product does not grow."""
    if not rate > 0:
        return None
    return max(1, round(math.log(torch.finfo(getattr(torch, dtype)).max) / rate))


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
