"""Ten formulas that give nan with no number above 2 in them: no large gradient, no training at all.

Each formula is evaluated once in `dtype`, and its sum is differentiated with respect to its inputs by autograd. It
counts as nan if its value or any of its derivatives is nan. Three of them look healthy going forward: the value is
finite and only the derivative is nan, as 0 · inf. With `safe` the same ten formulas are fed (or written) as they
should be, and none of them is nan. Inputs are at most 2 in size. Nothing is random.

Formulas: y·log p at p = y = 0; sqrt(a² + b²) at 0; softmax of a row of −inf (scores 0.1 and 0.2, both masked); a
constant column standardised without eps; cosine with a zero vector; log of −0.001, a variance that rounding made
negative; mean of an empty selection; a nan among the inputs; 0·acos(1), whose slope at 1 is infinite;
where(x > 0, sqrt x, 0) at −1, whose unused branch still is differentiated.
Source: Goldberg 1991; Blanchard, Higham & Higham 2021, Accurately computing the log-sum-exp and softmax functions.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "没有大数也会得 nan 的十个式子", "en": "Ten formulas that are nan without any large number"}
PARAMS = {
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "safe": {"zh": "换成安全的输入", "en": "fed with safe inputs"},
}
COLUMNS = {
    "formula": {"zh": "式子", "en": "formula"},
    "value": {"zh": "值", "en": "value"},
    "gradient": {"zh": "第一个导数", "en": "first derivative"},
    "kind": {"zh": "类别", "en": "kind"},
}
METRICS = {
    "n_nan": {"zh": "得 nan 的式子有几个", "en": "formulas that are nan"},
    "n_nan_forward": {"zh": "前向就是 nan 的有几个", "en": "nan going forward"},
    "n_nan_backward_only": {"zh": "只有导数是 nan 的有几个", "en": "nan in the derivative only"},
    "max_input": {"zh": "输入绝对值的最大值", "en": "largest input in absolute value"},
    "cross_entropy": {"zh": "y·log p：值", "en": "y·log p: value"},
    "norm": {"zh": "sqrt(a² + b²)：值", "en": "sqrt(a² + b²): value"},
    "norm_gradient": {"zh": "sqrt(a² + b²)：导数", "en": "sqrt(a² + b²): derivative"},
    "masked_softmax": {"zh": "整行被遮的 softmax：值", "en": "softmax of a masked row: value"},
    "standardised": {"zh": "标准化常数列：值", "en": "constant column, standardised: value"},
    "cosine": {"zh": "与零向量的余弦：值", "en": "cosine with a zero vector: value"},
    "log_variance": {"zh": "log 方差：值", "en": "log of a variance: value"},
    "empty_mean": {"zh": "空选择的均值：值", "en": "mean of a selection: value"},
    "nan_input": {"zh": "输入里有 nan：值", "en": "a nan among the inputs: value"},
    "acos_gradient": {"zh": "0·acos(x)：导数", "en": "0·acos(x): derivative"},
    "where_gradient": {"zh": "where(x > 0, sqrt x, 0)：导数", "en": "where(x > 0, sqrt x, 0): derivative"},
}
WORDS = {
    "nan forward": {"zh": "前向就是 nan", "en": "nan forward"},
    "nan backward": {"zh": "只有反向是 nan", "en": "nan backward only"},
    "finite": {"zh": "有限", "en": "finite"},
}
CHART = {
    "mark": {"type": "rect"},
    "encoding": {
        "x": {"field": "kind", "type": "nominal"},
        "y": {"field": "formula", "type": "nominal", "sort": None},
        "color": {"field": "kind", "type": "nominal"},
    },
}
# p·log(p) for p → 0: nan as soon as p is 0 in the format
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "entropy", "spacing": "halving", "n": 160, "x": 6.842277657836021e-49},
    }
]

Row = dict[str, float | str]
Metrics = dict[str, float | None]
Formula = tuple[str, str, list[float], list[float], Callable[[Tensor], Tensor]]
NAN, INF = math.nan, math.inf


def masked(t: Tensor) -> Tensor:
    """Softmax of the first half of t, −inf wherever the second half is 1."""
    scores, mask = t.chunk(2)
    return scores.masked_fill(mask == 1, -INF).softmax(0)


FORMULAS: list[Formula] = [  # metric, text, unsafe inputs, safe inputs, formula
    ("cross_entropy", "y·log p", [0.0, 0.0], [0.5, 0.0], lambda t: -t[1] * t[0].log()),
    ("norm", "sqrt(a² + b²)", [0.0, 0.0], [0.5, 0.5], lambda t: (t[0] * t[0] + t[1] * t[1]).sqrt()),
    ("masked_softmax", "softmax(masked)", [0.1, 0.2, 1.0, 1.0], [0.1, 0.2, 0.0, 1.0], masked),
    ("standardised", "(x − mean)/sd", [1.0, 1.0, 1.0], [0.0, 1.0, 2.0], lambda t: (t - t.mean()) / t.std()),
    ("cosine", "cos(a, b)", [0.0, 0.0], [1.0, 0.5], lambda t: (t @ t.new_ones(2)) / (t @ t).sqrt() / math.sqrt(2)),
    ("log_variance", "log(var)", [-0.001], [0.5], lambda t: t.log()),
    ("empty_mean", "mean(x[x > 1])", [0.5, 1.0], [0.5, 2.0], lambda t: t[t > 1].mean()),
    ("nan_input", "sum of x²", [1.0, NAN], [1.0, 0.5], lambda t: (t * t).sum()),
    ("acos", "0·acos(x)", [1.0], [0.5], lambda t: 0 * t.acos()),
    ("where", "where(x > 0, sqrt x, 0)", [-1.0], [1.0], lambda t: torch.where(t > 0, t.sqrt(), 0 * t)),
]


def run(
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32", safe: bool = False
) -> Generator[Row, None, Metrics]:
    found: Metrics = {}
    kinds, largest = [], 0.0
    for metric, formula, unsafe, harmless, f in FORMULAS:
        t = torch.tensor(harmless if safe else unsafe, dtype=getattr(torch, dtype)).requires_grad_()
        out = f(t)
        (grad,) = torch.autograd.grad(out.sum(), t)
        bad_value, bad_grad = bool(out.isnan().any()), bool(grad.isnan().any())
        kinds.append("nan forward" if bad_value else "nan backward" if bad_grad else "finite")
        value, gradient = out.flatten()[0].item(), grad.flatten()[0].item()
        found[metric], found[f"{metric}_gradient"] = value, gradient
        largest = max(largest, t.detach().double().abs().nan_to_num(0.0).max().item())
        yield {"formula": formula, "value": value, "gradient": gradient, "kind": kinds[-1]}
    found["n_nan"] = len(kinds) - kinds.count("finite")
    found["n_nan_forward"], found["n_nan_backward_only"] = kinds.count("nan forward"), kinds.count("nan backward")
    found["max_input"] = largest
    return {name: found[name] for name in METRICS}


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
