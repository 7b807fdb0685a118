"""A product that overflows has a harmless logarithm; but the logarithm pays with digits, and a sign is lost on the way.

n factors x: the product p ← p·x, the sum of logarithms s ← s + ln|x|, and a product that is kept as m·2^e with m in
[½, 1) (frexp after every step), each rounded to `dtype` after every step; the exponent e is an integer of its own.
An absolute error d of s is a relative error e^d − 1 of the product (log_rel_err): the larger s, the fewer digits are
left for the product. Errors are against n·ln|x| with 50 digits. Signs are not in the logarithm: for negative x they
have to be counted; x = 0 gives −inf. Nothing is random.
Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, ch. 3.
"""

import math
from collections.abc import Generator
from decimal import Decimal, localcontext
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "用对数算连乘", "en": "A product by logarithms"}
PARAMS = {
    "n": {"zh": "个数", "en": "how many numbers", "ge": 1, "le": 10000},
    "x": {"zh": "数值", "en": "the number", "nonfinite": True},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "product": {"zh": "直接连乘的 log10", "en": "log10 of the product"},
    "by_log": {"zh": "对数相加", "en": "sum of logarithms"},
}
METRICS = {
    "product": {"zh": "直接连乘", "en": "the product itself"},
    "product_bad_step": {"zh": "直接连乘变成 inf 或 0 的步数", "en": "step at which the product is inf or 0"},
    "log10_sum": {"zh": "对数之和，换成 log10", "en": "sum of logarithms, as log10"},
    "true_log10": {"zh": "log10 的精确值", "en": "log10 exactly"},
    "log_abs_err": {"zh": "对数之和的绝对误差（自然对数）", "en": "absolute error of the sum of (natural) logarithms"},
    "log_rel_err": {"zh": "由此还原的乘积的相对误差", "en": "relative error of the product it stands for"},
    "scaled_mantissa": {"zh": "分开存的尾数 m", "en": "mantissa m, kept apart"},
    "scaled_exponent": {"zh": "分开存的指数 e", "en": "exponent e, kept apart"},
    "scaled_rel_err": {"zh": "m·2^e 的相对误差", "en": "relative error of m·2^e"},
    "naive_log": {"zh": "先乘后取对数", "en": "logarithm of the product, taken at the end"},
}
CHART = {
    "transform": [{"fold": ["product", "by_log"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "multiply"}}]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    n: int = 1000,
    x: float = 1.5,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    factor = torch.tensor(x, dtype=getattr(torch, dtype))
    log = factor.abs().log()
    product = mantissa = torch.ones_like(factor)
    total, exponent = torch.zeros_like(factor), 0
    bad = None
    every = max(1, n // 200)
    for step in range(1, n + 1):
        product, total = product * factor, total + log
        mantissa, shift = math.frexp((mantissa * factor).item())
        mantissa, exponent = torch.tensor(mantissa, dtype=factor.dtype), exponent + shift
        if bad is None and (product == 0 or product.isinf()):
            bad = step
        if step % every == 0 or step in (1, n, bad):
            yield {"step": step, "product": log10(product), "by_log": total.item() / math.log(10)}
    error = abs(total.item() - exactly(x, n))
    return {
        "product": product.item(),
        "product_bad_step": bad,
        "log10_sum": total.item() / math.log(10),
        "true_log10": exactly(x, n) / math.log(10),
        "log_abs_err": error,
        "log_rel_err": relative(Decimal(total.item()), 0, x, n),
        "scaled_mantissa": mantissa.item(),
        "scaled_exponent": exponent,
        "scaled_rel_err": relative(ln_abs(mantissa.item()), exponent, x, n),
        "naive_log": log_abs(product.item()),
    }


def exactly(x: float, n: int) -> float:
    """n·ln|x|."""
    if not math.isfinite(x) or x == 0:
        return log_abs(x)
    with localcontext(prec=50):
        return float(n * abs(Decimal(x)).ln())


def ln_abs(value: float) -> Decimal:
    """ln|value| with 50 digits."""
    with localcontext(prec=50):
        return abs(Decimal(value)).ln() if math.isfinite(value) else Decimal(value)


def relative(log: Decimal, exponent: int, x: float, n: int) -> float:
    """|e^log·2^exponent/|x|ⁿ − 1|; the differences are taken with 50 digits, for they are all that counts."""
    if not math.isfinite(x) or x == 0 or not log.is_finite():
        return math.nan
    with localcontext(prec=50):
        error = log + exponent * Decimal(2).ln() - n * abs(Decimal(x)).ln()
    return abs(math.expm1(min(float(error), 700.0)))


def log_abs(value: float) -> float:
    """ln|value|, with ln 0 = −inf."""
    return math.log(abs(value)) if value else -math.inf


def log10(value: Tensor) -> float:
    return log_abs(value.item()) / math.log(10)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
