"""The log turns a product into a sum that cannot overflow; exp turns it back, overflow, gradient and all.

xⁿ is formed twice in `dtype`, rounding after every step: p ← p·x, and s ← s + ln x followed by exp(s). The gradients
with respect to x come from autograd: through all n steps for the product (n·xⁿ⁻¹) and exp(s) (the same in theory), and
of n·ln x alone (n/x). Zero has the logarithm −inf and a negative x has none: there the log trick ends, while the
product is fine.
Exact: log10|xⁿ| = n·log10|x|. Sources: Higham 2002, Accuracy and Stability of Numerical Algorithms; Feng et al. 2024.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "取对数之后的连乘", "en": "A product in log space"}
PARAMS = {
    "n": {"zh": "个数", "en": "how many factors", "ge": 1, "le": 10000},
    "x": {"zh": "数值", "en": "the factor", "nonfinite": True},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "product": {"zh": "直接连乘", "en": "product"},
    "exp_of_sum": {"zh": "exp(Σ ln x)", "en": "exp(Σ ln x)"},
    "sum_of_logs": {"zh": "Σ ln x", "en": "Σ ln x"},
}
METRICS = {
    "product": {"zh": "直接连乘", "en": "the product"},
    "sum_of_logs": {"zh": "Σ ln x", "en": "Σ ln x"},
    "exp_of_sum": {"zh": "exp(Σ ln x)", "en": "exp(Σ ln x)"},
    "grad_product": {"zh": "连乘的梯度", "en": "gradient of the product"},
    "grad_exp_sum": {"zh": "exp(Σ ln x) 的梯度", "en": "gradient of exp(Σ ln x)"},
    "grad_log_product": {"zh": "Σ ln x 的梯度", "en": "gradient of Σ ln x"},
    "theory_log10": {"zh": "连乘精确值的 log10", "en": "log10 of the exact product"},
    "difference": {"zh": "exp(Σ ln x) 与连乘的相对偏差", "en": "exp(Σ ln x) against the product, relative"},
}
CHART = {
    "transform": [{"fold": ["product", "exp_of_sum", "sum_of_logs"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "multiply"}}]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    n: int = 300,
    x: float = 1.5,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    factor = torch.tensor(x, dtype=getattr(torch, dtype)).requires_grad_()
    product, logs = torch.ones_like(factor), torch.zeros_like(factor)
    every = max(1, n // 200)
    for step in range(1, n + 1):
        product, logs = product * factor, logs + factor.log()
        if step % every == 0 or step == n:
            yield {
                "step": step,
                "product": product.item(),
                "exp_of_sum": logs.exp().item(),
                "sum_of_logs": logs.item(),
            }
    ends = (product, logs.exp(), n * factor.log())
    grads = [float(torch.autograd.grad(end, factor, retain_graph=True)[0]) for end in ends]
    return {
        "product": product.item(),
        "sum_of_logs": logs.item(),
        "exp_of_sum": logs.exp().item(),
        "grad_product": grads[0],
        "grad_exp_sum": grads[1],
        "grad_log_product": grads[2],
        "theory_log10": None if math.isnan(x) or x == 0 else n * math.log10(abs(x)),
        "difference": difference(logs.exp().item(), product.item()),
    }


def difference(a: float, b: float) -> float:
    """|a/b − 1|; 0 where both are the same infinity or both too small for float32 to tell from 0."""
    if a == b or (abs(a) < 1e-37 and abs(b) < 1e-37):
        return 0.0
    return abs(a / b - 1) if b else math.inf


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
