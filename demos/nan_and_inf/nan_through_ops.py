"""ReLU, clamp and argmax let a nan through; comparisons, nan_to_num and masked reductions hide it.

`value` (nan, inf or the number `x`), called x below, passes through operations of training, in `dtype`. The vector is
(1, x, 2): argmax and max return the nan and its place, for nan counts as the largest; argmax of a row of nothing but
x is 0, the first place. Every comparison with nan is false, so `x > 0` lets a check pass silently and nan != nan is
true. 0·x is nan: multiplying by a mask of zeros does not remove it, torch.where does, going forward (its gradient can
still be nan). A forward value counts as nan by itself. Nothing is random. Source: IEEE 754-2019; Goldberg 1991.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "哪些运算放过 nan，哪些把它藏起来", "en": "Which operations pass a nan on, and which hide it"}
PARAMS = {
    "value": {"zh": "放进去的是", "en": "what goes in"},
    "x": {"zh": "数值（选 number 时）", "en": "the number, if that is what goes in", "nonfinite": True},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "operation": {"zh": "运算", "en": "operation"},
    "value": {"zh": "结果", "en": "value"},
    "kind": {"zh": "类别", "en": "kind"},
}
METRICS = {
    "n_nan": {"zh": "结果是 nan 的运算个数", "en": "operations whose result is nan"},
    "relu": {"zh": "relu(x)", "en": "relu(x)"},
    "clamp": {"zh": "clamp(x, −1, 1)", "en": "clamp(x, −1, 1)"},
    "sigmoid": {"zh": "sigmoid(x)", "en": "sigmoid(x)"},
    "zero_times": {"zh": "0 · x", "en": "0 · x"},
    "nan_to_num": {"zh": "nan_to_num(x)", "en": "nan_to_num(x)"},
    "where_zero": {"zh": "where(x 有限, x, 0)", "en": "where(x is finite, x, 0)"},
    "mean": {"zh": "(1, x, 2) 的均值", "en": "mean of (1, x, 2)"},
    "nanmean": {"zh": "(1, x, 2) 的 nanmean", "en": "nanmean of (1, x, 2)"},
    "max": {"zh": "(1, x, 2) 的最大值", "en": "maximum of (1, x, 2)"},
    "fmax": {"zh": "fmax(x, 0)", "en": "fmax(x, 0)"},
    "python_max": {"zh": "Python 的 max(0, x)", "en": "Python's max(0, x)"},
    "argmax": {"zh": "(1, x, 2) 的 argmax", "en": "argmax of (1, x, 2)"},
    "argmax_all": {"zh": "(x, x, x) 的 argmax", "en": "argmax of (x, x, x)"},
    "greater_than_0": {"zh": "x > 0 是否为真", "en": "x > 0 is true"},
    "equals_itself": {"zh": "x == x 是否为真", "en": "x == x is true"},
    "loss_too_large": {"zh": "x > 1000 是否为真", "en": "x > 1000 is true"},
}
WORDS = {
    "nan": {"zh": "nan", "en": "nan"},
    "inf": {"zh": "inf", "en": "inf"},
    "finite": {"zh": "有限", "en": "finite"},
}
CHART = {
    "mark": {"type": "rect"},
    "encoding": {
        "x": {"field": "kind", "type": "nominal"},
        "y": {"field": "operation", "type": "nominal", "sort": None},
        "color": {"field": "kind", "type": "nominal"},
    },
}
# the mean of (1, x, 2)
BESIDE = [
    {"parameter": "dtype", "experiment": "dtype_functions", "params": {"f": "mean", "spacing": "doubling", "n": 60}}
]

Row = dict[str, float | str]
Metrics = dict[str, float]


def run(
    value: Literal["nan", "inf", "number"] = "nan",
    x: float = 0.5,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    t = torch.tensor(x if value == "number" else float(value), dtype=getattr(torch, dtype))
    found: Metrics = {}
    for name, result in results(t).items():
        found[name] = result
        kind = "nan" if math.isnan(result) else "inf" if math.isinf(result) else "finite"
        yield {"operation": name, "value": result, "kind": kind}
    return {"n_nan": sum(map(math.isnan, found.values()))} | found


def results(t: Tensor) -> Metrics:
    """Each operation's result; truth as 1 and 0."""
    zero = torch.zeros_like(t)
    three = torch.stack([zero + 1, t, zero + 2])
    return {
        "relu": t.relu().item(),
        "clamp": t.clamp(-1, 1).item(),
        "sigmoid": t.sigmoid().item(),
        "zero_times": (0 * t).item(),
        "nan_to_num": t.nan_to_num().item(),
        "where_zero": torch.where(t.isfinite(), t, zero).item(),
        "mean": three.mean().item(),
        "nanmean": three.nanmean().item(),
        "max": three.max().item(),
        "fmax": torch.fmax(t, zero).item(),
        "python_max": max(0.0, t.item()),
        "argmax": int(three.argmax()),
        "argmax_all": int(torch.stack([t, t, t]).argmax()),
        "greater_than_0": int(t > 0),
        "equals_itself": int(t == t),  # noqa: PLR0124  # the old test for nan
        "loss_too_large": int(t > 1000),
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
