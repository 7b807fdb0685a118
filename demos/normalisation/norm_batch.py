"""Batch normalisation lets the other samples of a batch change your output; layer and group normalisation do not.

One sample (row 0, N(0, 1), `width` units) stays the same while the other batch − 1 rows are drawn anew, N(0, std²), for
every one of `n` redraws. Each time the whole batch goes through five layers with γ = 1, β = 0: BatchNorm1d in train
mode, the same in eval mode (running averages 0 and 1, as fresh from the constructor), LayerNorm, GroupNorm (4 groups;
fewer where 4 does not divide the width) and RMSNorm. The change is the largest absolute difference of row 0's output
from its output in the first batch; `change` is that of the layer chosen by `norm`, the other metrics are always there.
bn_rms_change is the root mean square over redraws and units; for large batches it falls like 1/√batch.
Random rows. Source: Ba, Kiros & Hinton 2016, Layer normalization; Wu & He 2018, Group normalization.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "同批的样本改变你的输出吗", "en": "Do the other samples change your output"}
PARAMS = {
    "norm": {"zh": "哪种归一化", "en": "which normalisation"},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 2, "le": 512},
    "width": {"zh": "单元数", "en": "units", "ge": 2, "le": 512},
    "std": {"zh": "其他样本的标准差", "en": "standard deviation of the others", "ge": 0, "le": 1e6},
    "n": {"zh": "重抽几次", "en": "redraws", "ge": 1, "le": 200},
}
COLUMNS = {
    "draw": {"zh": "第几次重抽", "en": "redraw"},
    "norm": {"zh": "归一化", "en": "normalisation"},
    "change": {"zh": "这个样本输出的最大变化", "en": "largest change of this sample's output"},
}
METRICS = {
    "change": {"zh": "所选归一化：输出的最大变化", "en": "chosen normalisation: largest change"},
    "batch_change": {"zh": "BatchNorm，train：最大变化", "en": "BatchNorm, train: largest change"},
    "batch_eval_change": {"zh": "BatchNorm，eval：最大变化", "en": "BatchNorm, eval: largest change"},
    "layer_change": {"zh": "LayerNorm：最大变化", "en": "LayerNorm: largest change"},
    "group_change": {"zh": "GroupNorm：最大变化", "en": "GroupNorm: largest change"},
    "rms_change": {"zh": "RMSNorm：最大变化", "en": "RMSNorm: largest change"},
    "bn_rms_change": {"zh": "BatchNorm，train：均方根变化", "en": "BatchNorm, train: rms change"},
}
WORDS = {
    "batch": {"zh": "BatchNorm，train", "en": "BatchNorm, train"},
    "batch_eval": {"zh": "BatchNorm，eval", "en": "BatchNorm, eval"},
    "layer": {"zh": "LayerNorm", "en": "LayerNorm"},
    "group": {"zh": "GroupNorm", "en": "GroupNorm"},
    "rms": {"zh": "RMSNorm", "en": "RMSNorm"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "draw", "type": "quantitative"},
        "y": {"field": "change", "type": "quantitative"},
        "color": {"field": "norm", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float]


def run(
    norm: Literal["batch", "batch_eval", "layer", "group", "rms"] = "batch",
    batch: int = 8,
    width: int = 32,
    std: float = 1.0,
    n: int = 20,
) -> Generator[Row, None, Metrics]:
    layers: dict[str, nn.Module] = {
        "batch": nn.BatchNorm1d(width),
        "batch_eval": nn.BatchNorm1d(width).eval(),
        "layer": nn.LayerNorm(width),
        "group": nn.GroupNorm(math.gcd(4, width), width),
        "rms": nn.RMSNorm(width),
    }
    sample = torch.randn(1, width)
    largest, squares = dict.fromkeys(layers, 0.0), 0.0
    first: dict[str, Tensor] = {}
    with torch.no_grad():
        for draw in range(n + 1):
            x = torch.cat([sample, std * torch.randn(batch - 1, width)])
            for name, layer in layers.items():
                output = layer(x)[0].double()
                difference = output - first.setdefault(name, output)
                change = difference.abs().max().item()
                largest[name] = max(largest[name], change)
                if name == "batch":
                    squares += difference.square().mean().item()
                if draw:
                    yield {"draw": draw, "norm": name, "change": change}
    return (
        {"change": largest[norm]}
        | {f"{name}_change": change for name, change in largest.items()}
        | {"bn_rms_change": math.sqrt(squares / n)}
    )


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
