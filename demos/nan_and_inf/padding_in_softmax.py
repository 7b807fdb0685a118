"""A score multiplied by 0 still gets weight: padding has to be −inf before the softmax; masked weights sum to less.

`n` real scores from N(0, 1) and `padding` scores from N(0, 1) + `x`, what a network gives for positions without
meaning, in `dtype`. Four ways to keep the padding out of the softmax:

multiplied    the scores times 0: a 0 is a score like any other, exp(0) = 1
after         the weights of all positions times 0: the others keep their proportions and sum to less than 1
renormalised  these divided by their sum: the right weights, until all of them have underflowed and 0/0 is nan
filled        the scores of padding replaced by −inf

real_WAY: the sum of the weights of the real positions. error: the largest error of a renormalised weight, relative to
softmax over the real scores alone in float64. breaks_from: the least excess `x`, in steps of 0.5, from which that error
is above 1 % or nan. Random: scores. Source: IEEE 754-2019; Vaswani et al. 2017, Attention is all you need.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "softmax 之前和之后的填充掩码", "en": "Masking padding before and after the softmax"}
PARAMS = {
    "x": {"zh": "填充的分数高出多少", "en": "padding's scores are higher by", "ge": -100.0, "le": 200.0},
    "padding": {"zh": "填充的位置数", "en": "positions of padding", "ge": 1, "le": 1000},
    "n": {"zh": "真实的位置数", "en": "real positions", "ge": 1, "le": 1000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "excess": {"zh": "填充的分数高出多少", "en": "padding's scores are higher by"},
    "multiplied": {"zh": "真实位置的权重之和：分数乘 0", "en": "weight of real positions: scores times 0"},
    "after": {"zh": "真实位置的权重之和：权重乘 0", "en": "weight of real positions: weights times 0"},
    "renormalised": {"zh": "真实位置的权重之和：再除以和", "en": "weight of real positions: divided by their sum"},
}
METRICS = {
    "real_multiplied": {"zh": "分数乘 0：真实位置的权重之和", "en": "scores times 0: weight of the real positions"},
    "real_after": {"zh": "权重乘 0：真实位置的权重之和", "en": "weights times 0: weight of the real positions"},
    "real_renormalised": {
        "zh": "再除以和：真实位置的权重之和",
        "en": "divided by their sum: weight of the real positions",
    },
    "real_filled": {"zh": "填 −inf：真实位置的权重之和", "en": "filled with −inf: weight of the real positions"},
    "error": {"zh": "再除以和：最大的相对误差", "en": "divided by their sum: largest relative error"},
    "breaks_from": {"zh": "从高出多少起再除以和也错", "en": "excess from which dividing by the sum fails"},
}
CHART = {
    "transform": [{"fold": ["multiplied", "after", "renormalised"], "as": ["series", "value"]}],
    "mark": "line",
    "encoding": {
        "x": {"field": "excess", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the weight of a score that lies v below the largest
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "softmax", "spacing": "even", "n": 100, "x": -100.0},
    }
]
TOLERANCE = 0.01
HIGHEST = 120.0


def run(
    x: float = 5.0,
    padding: int = 24,
    n: int = 8,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[dict[str, float], None, dict[str, float | None]]:
    kind = getattr(torch, dtype)
    scores = torch.randn(n + padding).double()
    real = torch.arange(n + padding) < n
    breaks_from = None
    for half in range(int(2 * HIGHEST) + 1):
        excess = half / 2
        weights = masked(shifted(scores, real, excess).to(kind), real)
        if breaks_from is None and not worst_error(weights["renormalised"][real], scores[real], kind) < TOLERANCE:
            breaks_from = excess
        if half % 4 == 0:
            sums = {way: weights[way][real].double().sum().item() for way in ("multiplied", "after", "renormalised")}
            yield {"excess": excess, **sums}
    weights = masked(shifted(scores, real, x).to(kind), real)
    return {
        **{f"real_{way}": weight[real].double().sum().item() for way, weight in weights.items()},
        "error": worst_error(weights["renormalised"][real], scores[real], kind),
        "breaks_from": breaks_from,
    }


def shifted(scores: Tensor, real: Tensor, excess: float) -> Tensor:
    """The scores, those of padding higher by `excess`."""
    return scores + excess * (~real).to(scores.dtype)


def masked(scores: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Way to mask → the weights of all positions."""
    keep = real.to(scores.dtype)
    after = scores.softmax(0) * keep
    return {
        "multiplied": (scores * keep).softmax(0),
        "after": after,
        "renormalised": after / after.sum(),
        "filled": scores.masked_fill(~real, -math.inf).softmax(0),
    }


def worst_error(weights: Tensor, scores: Tensor, kind: torch.dtype) -> float:
    """The largest error relative to the softmax of these scores, as they are stored, in float64; nan if one is nan."""
    exact = scores.to(kind).double().softmax(0)
    return float(((weights.double() - exact) / exact).abs().max().item())


if __name__ == "__main__":

    def show() -> Generator[dict[str, float], None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
