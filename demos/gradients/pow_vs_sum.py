"""Multiplying n copies of x explodes or vanishes exponentially; adding them only grows n-fold.

The product p ← p·x and the sum s ← s + x are carried out step by step in `dtype`, rounding after every step.
The product overflows at the smallest n with n·ln|x| > ln(max). That step is also measured in all four dtypes,
up to 10000 steps, whatever `n` is. Source: IEEE 754-2019; Higham 2002, Accuracy and Stability of Numerical
Algorithms, ch. 2.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "连乘与连加", "en": "Repeated product against repeated sum"}
PARAMS = {
    "n": {"zh": "个数", "en": "how many numbers", "ge": 1, "le": 10000},
    "x": {"zh": "数值", "en": "the number", "nonfinite": True},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "product": {"zh": "连乘", "en": "product"},
    "sum": {"zh": "连加", "en": "sum"},
}
METRICS = {
    "product": {"zh": "n 个 x 的乘积", "en": "product of n copies of x"},
    "sum": {"zh": "n 个 x 的和", "en": "sum of n copies of x"},
    "sum_rel_err": {"zh": "和的相对误差", "en": "relative error of the sum"},
    "true_log10_product": {"zh": "乘积的精确值的 log10", "en": "log10 of the exact product"},
    "first_overflow_step": {"zh": "乘积首次溢出", "en": "product first overflows", "unit": "step"},
    "theory_overflow_step": {"zh": "理论溢出步", "en": "overflow step in theory", "unit": "step"},
    "first_zero_step": {"zh": "乘积首次变成 0", "en": "product first is 0", "unit": "step"},
    "sum_stagnates_at": {"zh": "和从这一步起不再变", "en": "sum stops changing", "unit": "step"},
    "overflow_float16": {"zh": "float16 溢出步", "en": "overflow in float16", "unit": "step"},
    "overflow_bfloat16": {"zh": "bfloat16 溢出步", "en": "overflow in bfloat16", "unit": "step"},
    "overflow_float32": {"zh": "float32 溢出步", "en": "overflow in float32", "unit": "step"},
    "overflow_float64": {"zh": "float64 溢出步", "en": "overflow in float64", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["product", "sum"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [
    {"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "multiply"}},
    {"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "add"}},
]

Row = dict[str, float]
Metrics = dict[str, float | None]
DTYPES = ("float16", "bfloat16", "float32", "float64")


def run(
    n: int = 100,
    x: float = 1.5,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    factor = torch.tensor(x, dtype=getattr(torch, dtype))
    product, total = torch.ones_like(factor), torch.zeros_like(factor)
    first_overflow = first_zero = stagnates = None
    every = max(1, n // 200)
    for step in range(1, n + 1):
        before = total
        product, total = product * factor, total + factor
        if first_overflow is None and product.isinf():
            first_overflow = step
        if first_zero is None and product == 0:
            first_zero = step
        if stagnates is None and x != 0 and total.isfinite() and total == before:
            stagnates = step
        if step % every == 0 or step == n or step in (first_overflow, first_zero):
            yield {"step": step, "product": product.item(), "sum": total.item()}
    exact_sum = n * x
    return {
        "product": product.item(),
        "sum": total.item(),
        "sum_rel_err": abs(total.item() - exact_sum) / abs(exact_sum) if exact_sum else 0.0,
        "true_log10_product": n * math.log10(abs(x)) if x else -math.inf,
        "first_overflow_step": first_overflow,
        "theory_overflow_step": overflow_in_theory(x, dtype),
        "first_zero_step": first_zero,
        "sum_stagnates_at": stagnates,
    } | {f"overflow_{name}": overflow_measured(x, name) for name in DTYPES}


def overflow_in_theory(x: float, dtype: str) -> int | None:
    """The smallest n with n·ln|x| > ln(max); None where |x| ≤ 1 never overflows."""
    if not math.isfinite(x):
        return 1 if math.isinf(x) else None
    if abs(x) <= 1:
        return None
    largest = torch.finfo(getattr(torch, dtype)).max
    n = math.floor(math.log(largest) / math.log(abs(x))) + 1
    one_less = torch.tensor(abs(x), dtype=torch.float64) ** (n - 1)  # ln max of float64 is rounded up to 1024·ln 2
    return n - 1 if one_less > largest else n


def overflow_measured(x: float, dtype: str, limit: int = 10000) -> int | None:
    """The step at which the running product becomes inf, or None within `limit` steps."""
    factor = torch.tensor(x, dtype=getattr(torch, dtype))
    product = torch.ones_like(factor)
    for step in range(1, limit + 1):
        before, product = product, product * factor
        if product.isinf():
            return step
        if product.abs() == before.abs() or product.isnan():
            return None  # 0, 1, nan, or a subnormal that rounds back to itself: nothing will change any more
    return None


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
