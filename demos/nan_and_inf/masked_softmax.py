"""A row of attention scores that is masked completely gives nan with −inf, and an average of everything with −1e9.

One row of `n` scores from N(0, 1), its last `masked` entries masked (at most n): `fill` says how. inf: they become −inf
before the softmax. large: they become −1e9, in float16 −inf, for that type ends at 65504. lowest: the most negative
number of `dtype`. zero_row: −inf, and afterwards torch.where sets the row to 0 if nothing was left to attend to.
The softmax subtracts the maximum first, so with all scores at −inf it computes −inf − (−inf) = nan; with all of them at
one finite number it is uniform, 1/n each, and the row attends to what was masked. The output is the weighted sum of n
values from N(0, 1); its gradient with respect to the scores is taken as well. theory_leak: the fraction of attention on
masked places, 0 unless everything is masked. Random: scores and values.
Source: Blanchard, Higham & Higham 2021, Accurately computing the log-sum-exp and softmax functions.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "整行被遮住的 softmax", "en": "Softmax of a masked row"}
PARAMS = {
    "n": {"zh": "一行有几个分数", "en": "scores in the row", "ge": 1, "le": 2000},
    "masked": {"zh": "遮住几个", "en": "how many are masked", "ge": 0, "le": 2000},
    "fill": {"zh": "怎么遮", "en": "how they are masked"},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "place": {"zh": "第几个位置", "en": "place"},
    "score": {"zh": "遮住之前的分数", "en": "score before masking"},
    "weight": {"zh": "注意力权重", "en": "attention weight"},
    "uniform": {"zh": "均匀权重 1/n", "en": "uniform weight, 1/n"},
}
METRICS = {
    "n_nan": {"zh": "权重里 nan 的个数", "en": "weights that are nan"},
    "first_weight": {"zh": "第一个权重", "en": "first weight"},
    "weight_sum": {"zh": "权重之和", "en": "sum of the weights"},
    "leak": {"zh": "落在被遮位置上的注意力", "en": "attention on masked places"},
    "theory_leak": {"zh": "理论：落在被遮位置上的注意力", "en": "attention on masked places in theory"},
    "output": {"zh": "输出", "en": "output"},
    "nan_gradients": {"zh": "梯度里 nan 的个数", "en": "derivatives that are nan"},
}
CHART = {
    "transform": [{"fold": ["weight", "uniform"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "place", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the weight of a score that a mask has lowered by v
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "softmax", "spacing": "even", "n": 100, "x": -100.0},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    n: int = 8,
    masked: int = 8,
    fill: Literal["inf", "large", "lowest", "zero_row"] = "inf",
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    scores = torch.randn(n).to(kind).requires_grad_()
    values = torch.randn(n).to(kind)
    hidden = torch.arange(n) >= n - min(masked, n)
    number = {"large": -1e9, "lowest": torch.finfo(kind).min}.get(fill, -math.inf)
    stored = torch.tensor(number, dtype=torch.float64).to(kind)
    weights = torch.where(hidden, stored, scores).softmax(0)
    if fill == "zero_row":
        weights = torch.where(hidden.all(), torch.zeros_like(weights), weights)
    output = weights @ values
    (grad,) = torch.autograd.grad(output, scores)
    for place, weight in enumerate(weights.tolist()):
        if place % math.ceil(n / 200) == 0 or place == n - 1:
            yield {"place": place, "score": scores[place].item(), "weight": weight, "uniform": 1 / n}
    return {
        "n_nan": int(weights.isnan().sum()),
        "first_weight": weights[0].item(),
        "weight_sum": weights.detach().double().sum().item(),
        "leak": weights[hidden].detach().double().sum().item(),
        "theory_leak": float(bool(hidden.all() and stored.isfinite())),
        "output": output.item(),
        "nan_gradients": int(grad.isnan().sum()),
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
