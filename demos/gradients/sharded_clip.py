"""Clipping each shard by its own norm is not clipping: the whole is √shards too long and points elsewhere.

A gradient of 4096 parameters over `shards` ranks, as with FSDP or ZeRO: entries N(0, 1), those of rank k times
`uneven`^(k/(shards − 1)), the whole scaled to the norm `x`. Clipping at `threshold`, three ways:

global  every shard times min(1, threshold/norm), norm = √(sum of the squared local norms), one all-reduce
local   every shard times min(1, threshold/its own norm), as torch's clip_grad_norm_ on local tensors does
split   every shard times min(1, threshold/(√shards·own norm)), a threshold divided among the ranks

norm: of the whole gradient afterwards. cosine: with the gradient before. factors: the largest factor over the
smallest; if they differ, parts of one tensor have been scaled differently. logged: what rank 0 prints as its norm
before clipping. The rows are the ranks. Random: the gradient. Source: Pascanu et al. 2013, On the difficulty of
training recurrent neural networks; Zhao et al. 2023, PyTorch FSDP.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "分片模型的梯度裁剪", "en": "Gradient clipping of a sharded model"}
PARAMS = {
    "x": {"zh": "裁剪前的范数", "en": "norm before clipping", "ge": 1e-6, "le": 1e6},
    "threshold": {"zh": "裁剪阈值", "en": "threshold", "ge": 1e-6, "le": 1e6},
    "shards": {"zh": "分片数", "en": "shards", "ge": 2, "le": 512},
    "uneven": {"zh": "最大的分片是最小的几倍", "en": "largest shard relative to the smallest", "ge": 1, "le": 1e6},
}
COLUMNS = {
    "rank": {"zh": "第几个分片", "en": "rank"},
    "before": {"zh": "裁剪前的局部范数", "en": "local norm before"},
    "global": {"zh": "之后：全局裁剪", "en": "after: global"},
    "local": {"zh": "之后：各自裁剪", "en": "after: each by itself"},
}
METRICS = {
    "norm_global": {"zh": "裁剪后的范数：全局", "en": "norm after clipping: global"},
    "norm_local": {"zh": "裁剪后的范数：各自", "en": "norm after clipping: each by itself"},
    "norm_split": {"zh": "裁剪后的范数：阈值分摊", "en": "norm after clipping: threshold divided"},
    "cosine_global": {"zh": "与原梯度的余弦：全局", "en": "cosine with the gradient: global"},
    "cosine_local": {"zh": "与原梯度的余弦：各自", "en": "cosine with the gradient: each by itself"},
    "cosine_split": {"zh": "与原梯度的余弦：阈值分摊", "en": "cosine with the gradient: threshold divided"},
    "logged": {"zh": "第 0 个分片记录的范数", "en": "norm that rank 0 logs"},
    "factors": {"zh": "各分片系数之比", "en": "largest factor over the smallest"},
    "theory_local": {"zh": "√分片数 × 阈值", "en": "√shards × threshold"},
}
CHART = {
    "transform": [{"fold": ["before", "global", "local"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "rank", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
D = 4096


def run(
    x: float = 50.0, threshold: float = 1.0, shards: int = 16, uneven: float = 10.0
) -> Generator[Row, None, Metrics]:
    sizes = uneven ** (torch.arange(shards).double() / (shards - 1))
    gradient = torch.randn(shards, D // shards).double() * sizes[:, None]
    gradient *= x / gradient.norm()
    norms = gradient.norm(dim=1)
    whole = norms.square().sum().sqrt()
    factors = {
        "global": (threshold / whole).clamp(max=1).expand(shards),
        "local": (threshold / norms).clamp(max=1),
        "split": (threshold / (math.sqrt(shards) * norms)).clamp(max=1),
    }
    clipped = {way: gradient * factor[:, None] for way, factor in factors.items()}
    after = {way: value.norm(dim=1) for way, value in clipped.items()}
    for k in range(shards):
        yield {
            "rank": k,
            "before": norms[k].item(),
            "global": after["global"][k].item(),
            "local": after["local"][k].item(),
        }
    return {
        **{f"norm_{way}": value.norm().item() for way, value in clipped.items()},
        **{f"cosine_{way}": cosine(value, gradient) for way, value in clipped.items()},
        "logged": norms[0].item(),
        "factors": (factors["local"].max() / factors["local"].min()).item(),
        "theory_local": math.sqrt(shards) * threshold,
    }


def cosine(a: Tensor, b: Tensor) -> float:
    return float(((a * b).sum() / (a.norm() * b.norm())).item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
