"""Clipping on each rank before the average is not clipping the average: it mutes some ranks and turns the gradient.

`ranks` ranks have gradients of 64 entries: a common part of norm 1 and noise of norm 1 on each; the last rank's is `x`
times as large in all, as after a bad batch. Clipped to norm 1 in four ways: by the norm of the average (after); on
each rank by its own norm, then averaged (before); the average cut into one piece a rank, each clipped by its own norm,
as a sharded gradient is if every rank looks at its own shard (shards); each entry of the average to ±0.125, the same
length if all are at the limit (value).

Measured over 200 draws: the cosine with the exact average, with the common part, and the norm. Theory: after keeps the
direction of the average; before bounds what a rank can contribute, 1/ranks; shards has norm √ranks at most. Random:
the gradients.
Source: Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "多卡时在哪里裁剪梯度", "en": "Where to clip gradients with several ranks"}
PARAMS = {
    "ranks": {"zh": "卡数", "en": "number of ranks", "ge": 2, "le": 64},
    "x": {"zh": "最后一张卡的梯度放大", "en": "gradient of the last rank, times", "ge": 1, "le": 1e6},
}
COLUMNS = {
    "draw": {"zh": "第几次", "en": "draw"},
    "after": {"zh": "先平均后裁剪：与共同方向的余弦", "en": "averaged, then clipped: cosine with the common part"},
    "before": {"zh": "各卡先裁剪：余弦", "en": "clipped on each rank: cosine"},
    "shards": {"zh": "按分片裁剪：余弦", "en": "clipped by shards: cosine"},
    "value": {"zh": "按数值裁剪：余弦", "en": "clipped by value: cosine"},
}
METRICS = {
    "after_kept": {"zh": "先平均后裁剪：与准确平均的余弦", "en": "averaged first: cosine with the exact average"},
    "before_kept": {"zh": "各卡先裁剪：与准确平均的余弦", "en": "each rank first: cosine with the exact average"},
    "shards_kept": {"zh": "按分片：与准确平均的余弦", "en": "by shards: cosine with the exact average"},
    "value_kept": {"zh": "按数值：与准确平均的余弦", "en": "by value: cosine with the exact average"},
    "after_common": {"zh": "先平均后裁剪：与共同方向的余弦", "en": "averaged first: cosine with the common part"},
    "before_common": {"zh": "各卡先裁剪：与共同方向的余弦", "en": "each rank first: cosine with the common part"},
    "after_norm": {"zh": "先平均后裁剪：范数", "en": "averaged first: norm"},
    "before_norm": {"zh": "各卡先裁剪：范数", "en": "each rank first: norm"},
    "shards_norm": {"zh": "按分片：范数", "en": "by shards: norm"},
}
CHART = {
    "transform": [{"fold": ["after", "before", "shards", "value"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "draw", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
ENTRIES, DRAWS = 64, 200
WAYS = ["after", "before", "shards", "value"]


def run(ranks: int = 8, x: float = 100.0) -> Generator[Row, None, Metrics]:
    kept: dict[str, list[float]] = {way: [] for way in WAYS}
    common: dict[str, list[float]] = {way: [] for way in WAYS}
    norms: dict[str, list[float]] = {way: [] for way in WAYS}
    for draw in range(1, DRAWS + 1):
        signal = unit(torch.randn(ENTRIES, dtype=torch.float64))
        gradients = signal + torch.stack([unit(torch.randn(ENTRIES, dtype=torch.float64)) for _ in range(ranks)])
        gradients[-1] *= x
        average = gradients.mean(0)
        clipped = {
            "after": clip(average),
            "before": torch.stack([clip(gradient) for gradient in gradients]).mean(0),
            "shards": torch.cat([clip(shard) for shard in average.chunk(ranks)]),
            "value": average.clamp(-1 / math.sqrt(ENTRIES), 1 / math.sqrt(ENTRIES)),
        }
        for way, gradient in clipped.items():
            kept[way].append(cosine(gradient, average))
            common[way].append(cosine(gradient, signal))
            norms[way].append(float(gradient.norm()))
        if draw % 4 == 0:
            yield {"draw": draw, **{way: common[way][-1] for way in WAYS}}
    return {
        **{f"{way}_kept": sum(kept[way]) / DRAWS for way in WAYS},
        **{f"{way}_common": sum(common[way]) / DRAWS for way in ("after", "before")},
        **{f"{way}_norm": sum(norms[way]) / DRAWS for way in ("after", "before", "shards")},
    }


def unit(values: Tensor) -> Tensor:
    """The same direction, norm 1."""
    return values / values.norm()


def clip(gradient: Tensor) -> Tensor:
    """Shortened to norm 1 if it is longer."""
    return gradient / gradient.norm().clamp(min=1)


def cosine(a: Tensor, b: Tensor) -> float:
    """The cosine of the angle between them."""
    return float(a @ b / (a.norm() * b.norm()))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
