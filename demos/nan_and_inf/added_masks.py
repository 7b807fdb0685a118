"""Two additive masks of finfo.min add up to −inf; where they cover a row its softmax is nan, and layer 2 is lost.

`n` positions of one sequence, `padding` of them padding on its left or right `side`, queries, keys and values of 16
features from N(0, 1), scores q·k/4 in `dtype`. Three masks: causal (key after query), key padding, and with
`both_sides` query padding as well (the rows of padding). Five ways to combine them:

added     each mask is finfo(dtype).min where it forbids; they are added to the scores
infinite  the same with −inf
clamped   added, then raised to finfo.min at least
merged    one boolean mask, filled with finfo.min
diagonal  one boolean mask filled with −inf, but each padding position may see itself

finfo.min + finfo.min is beyond the range: −inf. A row of nothing but −inf is nan in the softmax. layer_1: fraction of
the queries whose output is nan. layer_2: fraction of the real positions whose output is nan after a second attention
whose values are the outputs of the first: the weight 0 of a padded key times its nan is nan. A row of right padding
comes after the real positions and sees them, masked once at most where keys alone are masked. Random: queries, keys,
values. Source: IEEE 754-2019; Vaswani et al. 2017, Attention is all you need.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "加在一起的注意力掩码", "en": "Attention masks that are added"}
PARAMS = {
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "padding": {"zh": "填充的位置数", "en": "positions of padding", "ge": 0, "le": 255},
    "n": {"zh": "序列长度", "en": "length of the sequence", "ge": 2, "le": 256},
    "both_sides": {"zh": "填充的行也屏蔽", "en": "rows of padding are masked as well"},
    "side": {"zh": "填充在哪一侧", "en": "side of the padding"},
}
LIMITS = [{"ascending": ["padding", "n"]}]
COLUMNS = {
    "query": {"zh": "第几个位置", "en": "position"},
    "added": {"zh": "nan 的权重比例：相加", "en": "fraction of nan weights: added"},
    "merged": {"zh": "nan 的权重比例：先合并", "en": "fraction of nan weights: merged"},
    "infinite": {"zh": "nan 的权重比例：−inf", "en": "fraction of nan weights: −inf"},
}
METRICS = {
    "sum": {"zh": "finfo.min + finfo.min", "en": "finfo.min + finfo.min"},
    "layer_1_added": {"zh": "第一层 nan 的位置：相加", "en": "nan positions after layer 1: added"},
    "layer_1_infinite": {"zh": "第一层 nan 的位置：−inf", "en": "nan positions after layer 1: −inf"},
    "layer_1_merged": {"zh": "第一层 nan 的位置：先合并", "en": "nan positions after layer 1: merged"},
    "layer_2_added": {"zh": "第二层 nan 的真实位置：相加", "en": "real positions that are nan after layer 2: added"},
    "layer_2_infinite": {"zh": "第二层 nan 的真实位置：−inf", "en": "real positions that are nan after layer 2: −inf"},
    "layer_2_clamped": {
        "zh": "第二层 nan 的真实位置：夹住",
        "en": "real positions that are nan after layer 2: clamped",
    },
    "layer_2_merged": {
        "zh": "第二层 nan 的真实位置：先合并",
        "en": "real positions that are nan after layer 2: merged",
    },
    "layer_2_diagonal": {"zh": "第二层 nan 的真实位置：填充看自己", "en": "the same: padding sees itself"},
    "difference": {"zh": "真实位置的输出与不填充时之差", "en": "difference of real outputs from those without padding"},
}
CHART = {
    "transform": [{"fold": ["added", "merged", "infinite"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "query", "type": "quantitative"},
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
WAYS = ("added", "infinite", "clamped", "merged", "diagonal")


def run(
    dtype: Literal["float16", "bfloat16", "float32"] = "float32",
    padding: int = 8,
    n: int = 32,
    both_sides: bool = True,
    side: Literal["left", "right"] = "left",
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    q, k, v = torch.randn(3, n, 16).to(kind)
    scores = q @ k.T / 4
    place = torch.arange(n)
    padded = place < padding if side == "left" else place >= n - padding
    masks = [place[None, :] > place[:, None], padded[None, :].expand(n, n)]
    if both_sides:
        masks.append(padded[:, None].expand(n, n))
    weights = {way: combined(way, scores, masks).float().softmax(-1).to(kind) for way in WAYS}
    for i in range(n):
        yield {
            "query": i + 1,
            **{way: weights[way][i].isnan().double().mean().item() for way in ("added", "merged", "infinite")},
        }
    first = {way: weight @ v for way, weight in weights.items()}
    second = {way: weights[way] @ first[way] for way in WAYS}
    real = ~padded
    alone = (scores[real][:, real].masked_fill(masks[0][real][:, real], -math.inf).float().softmax(-1).to(kind)) @ v[
        real
    ]
    lowest = torch.tensor(torch.finfo(kind).min, dtype=kind)
    return {
        "sum": (lowest + lowest).item(),
        **{f"layer_1_{way}": broken(first[way]) for way in ("added", "infinite", "merged")},
        **{f"layer_2_{way}": broken(second[way][real]) for way in WAYS},
        "difference": (first["merged"][real] - alone).double().abs().max().item(),
    }


def combined(way: str, scores: Tensor, masks: list[Tensor]) -> Tensor:
    """The scores with all masks applied, in their dtype."""
    lowest = torch.finfo(scores.dtype).min
    forbidden = torch.stack(masks).any(0)
    if way == "merged":
        return scores.masked_fill(forbidden, lowest)
    if way == "diagonal":
        return scores.masked_fill(forbidden & ~torch.eye(len(scores), dtype=torch.bool), -math.inf)
    total = scores
    for mask in masks:
        total = total + torch.zeros_like(scores).masked_fill(mask, -math.inf if way == "infinite" else lowest)
    return total.clamp(min=lowest) if way == "clamped" else total


def broken(outputs: Tensor) -> float:
    """The fraction of positions with a nan."""
    return float(outputs.isnan().any(-1).double().mean().item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
