"""Dividing by zero gives inf, not nan; inf − inf, 0 · inf, logs and roots give nan without any division.

21 expressions that occur in training are evaluated in `dtype` and sorted into finite, inf and nan. Only the first
group contains the reader's `x`; "big" is the first round number whose exponential overflows (12 in float16, 89 in
bfloat16 and float32, 710 in float64), "max" the largest finite number. The last five are derivatives at t = 0, taken
by autograd; those of roots and logs divide by t or its root. Rules: x/0 = ±inf for x ≠ 0; 0/0, inf − inf, 0 · inf and
inf/inf are nan. Nothing is random. Source: IEEE 754-2019; Goldberg 1991, What every computer scientist should know
about floating-point arithmetic.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "inf 与 nan 从哪些运算里来", "en": "Which operations give inf and nan"}
PARAMS = {
    "x": {"zh": "数值", "en": "the number", "nonfinite": True},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "expression": {"zh": "表达式", "en": "expression"},
    "value": {"zh": "结果", "en": "value"},
    "kind": {"zh": "类别", "en": "kind"},
}
METRICS = {
    "n_nan": {"zh": "结果为 nan 的个数", "en": "how many are nan"},
    "n_inf": {"zh": "结果为 ±inf 的个数", "en": "how many are ±inf"},
    "n_nan_without_division": {"zh": "没有除法却得 nan 的个数", "en": "how many are nan without a division"},
    "stored_x": {"zh": "x 存进该类型后的值", "en": "x as stored in this dtype"},
    "x_over_0": {"zh": "x / 0", "en": "x / 0"},
    "zero_over_0": {"zh": "0 / 0", "en": "0 / 0"},
    "inf_minus_inf": {"zh": "inf − inf", "en": "inf − inf"},
    "zero_times_inf": {"zh": "0 · inf", "en": "0 · inf"},
    "inf_over_inf": {"zh": "inf / inf", "en": "inf / inf"},
    "x_over_inf": {"zh": "x / inf", "en": "x / inf"},
    "x_minus_inf": {"zh": "x − inf", "en": "x − inf"},
    "log_0": {"zh": "log 0", "en": "log 0"},
    "log_minus_1": {"zh": "log(−1)", "en": "log(−1)"},
    "sqrt_minus_1": {"zh": "sqrt(−1)", "en": "sqrt(−1)"},
    "minus_1_to_half": {"zh": "(−1) 的 0.5 次方", "en": "(−1) to the power 0.5"},
    "exp_big": {"zh": "exp(big)", "en": "exp(big)"},
    "twice_max": {"zh": "2 · max", "en": "2 · max"},
    "softmax_naive": {"zh": "直接写的 softmax(big, 0)", "en": "naive softmax(big, 0)"},
    "softmax_stable": {"zh": "减去最大值的 softmax(big, 0)", "en": "softmax(big, 0) after subtracting the maximum"},
    "zero_to_0": {"zh": "0 的 0 次方", "en": "0 to the power 0"},
    "grad_sqrt": {"zh": "sqrt(t) 在 0 的导数", "en": "derivative of sqrt(t) at 0"},
    "grad_sqrt_square": {"zh": "sqrt(t²) 在 0 的导数", "en": "derivative of sqrt(t²) at 0"},
    "grad_t_log_t": {"zh": "t · log(t) 在 0 的导数", "en": "derivative of t · log(t) at 0"},
    "grad_where_log": {"zh": "where(t > 0, log t, 0) 在 0 的导数", "en": "derivative of where(t > 0, log t, 0) at 0"},
    "grad_abs": {"zh": "|t| 在 0 的导数", "en": "derivative of |t| at 0"},
}
WORDS = {"finite": {"zh": "有限", "en": "finite"}}
CHART = {
    "mark": {"type": "rect"},
    "encoding": {
        "x": {"field": "kind", "type": "nominal"},
        "y": {"field": "expression", "type": "nominal", "sort": None},
        "color": {"field": "kind", "type": "nominal"},
    },
}
# exp(big)/Σexp: the step of overflow is the `big` of the format
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "softmax", "spacing": "even", "n": 720, "x": 720.0},
    }
]

Row = dict[str, float | str]
Metrics = dict[str, float]
DIVIDE_IN_THE_DERIVATIVE = {"grad_sqrt", "grad_sqrt_square", "grad_t_log_t", "grad_where_log"}
BIG = {"float16": 12.0, "bfloat16": 89.0, "float32": 89.0, "float64": 710.0}


def run(
    x: float = 1.0,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    number = torch.tensor(x, dtype=getattr(torch, dtype))
    values: dict[str, float] = {}
    n_nan_without_division = 0
    for name, (written, result) in expressions(number, BIG[dtype]).items():
        values[name] = result.item()
        n_nan_without_division += math.isnan(values[name]) and not divides(name, written)
        yield {"expression": written, "value": values[name], "kind": kind(values[name])}
    counts = {
        "n_nan": sum(math.isnan(value) for value in values.values()),
        "n_inf": sum(math.isinf(value) for value in values.values()),
        "n_nan_without_division": n_nan_without_division,
    }
    return {**counts, "stored_x": number.item(), **values}


def expressions(x: Tensor, largest_exponent: float) -> dict[str, tuple[str, Tensor]]:
    """Metric → how it is written, and its value in the dtype of x."""
    zero, inf = x.new_zeros(()), x.new_tensor(math.inf)
    minus_one, top = x.new_tensor(-1.0), x.new_tensor(torch.finfo(x.dtype).max)
    logits = x.new_tensor([largest_exponent, 0.0])
    naive, stable = logits.exp(), (logits - logits.max()).exp()
    return {
        "x_over_0": ("x / 0", x / zero),
        "zero_over_0": ("0 / 0", zero / zero),
        "inf_minus_inf": ("inf − inf", inf - inf),
        "zero_times_inf": ("0 · inf", zero * inf),
        "inf_over_inf": ("inf / inf", inf / inf),
        "x_over_inf": ("x / inf", x / inf),
        "x_minus_inf": ("x − inf", x - inf),
        "log_0": ("log(0)", zero.log()),
        "log_minus_1": ("log(−1)", minus_one.log()),
        "sqrt_minus_1": ("sqrt(−1)", minus_one.sqrt()),
        "minus_1_to_half": ("(−1)^0.5", minus_one**0.5),
        "exp_big": ("exp(big)", naive[0]),
        "twice_max": ("2 · max", top * 2),
        "softmax_naive": ("exp(big) / Σexp", (naive / naive.sum())[0]),
        "softmax_stable": ("exp(0) / Σexp(z − max)", (stable / stable.sum())[0]),
        "zero_to_0": ("0^0", zero**zero),
        "grad_sqrt": ("d sqrt(t)", derivative(torch.sqrt, zero)),
        "grad_sqrt_square": ("d sqrt(t²)", derivative(lambda t: (t * t).sqrt(), zero)),
        "grad_t_log_t": ("d t · log(t)", derivative(lambda t: t * t.log(), zero)),
        "grad_where_log": ("d where(t > 0, log t, 0)", derivative(lambda t: torch.where(t > 0, t.log(), zero), zero)),
        "grad_abs": ("d |t|", derivative(torch.abs, zero)),
    }


def derivative(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """f′ at a point, by autograd."""
    t = at.clone().requires_grad_()
    return torch.autograd.grad(f(t), t)[0]


def divides(name: str, written: str) -> bool:
    """Whether a division is carried out: one that is written, or that of a derivative 1/(2·sqrt t) or 1/t."""
    return "/" in written or name in DIVIDE_IN_THE_DERIVATIVE


def kind(value: float) -> str:
    """One of finite, inf, nan."""
    return "nan" if math.isnan(value) else "inf" if math.isinf(value) else "finite"


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
