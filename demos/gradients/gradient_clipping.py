"""Clipping by norm shortens the gradient and keeps its direction; clipping by value turns it.

A gradient of n entries N(0, 1), the first `outliers` of them multiplied by `scale`, is clipped in both ways of
PyTorch: clip_grad_norm_ multiplies the whole vector by min(1, clip/‖g‖), clip_grad_value_ cuts every entry to ±clip.
The gradient belongs to two parameters, one half each; together=False clips each by its own norm. The cosine between
the clipped and the original gradient says how far the direction has turned; the fraction says how much of the squared
length of the clipped gradient still lies in the outliers. A third gradient, with one entry inf, is clipped by norm:
inf/inf = nan, and the factor clip/inf = 0 wipes out all others. Norms are taken in float64.
Source: Pascanu, Mikolov & Bengio 2013.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

TITLE = {"zh": "梯度裁剪：按范数与按数值", "en": "Clipping gradients by norm and by value"}
PARAMS = {
    "n": {"zh": "梯度有多少个数", "en": "entries of the gradient", "ge": 2, "le": 100000},
    "clip": {"zh": "裁剪阈值", "en": "clipping threshold", "ge": 1e-6, "le": 1e6},
    "outliers": {"zh": "离群的个数", "en": "how many are outliers", "ge": 0, "le": 1000},
    "scale": {"zh": "离群值放大多少倍", "en": "outliers are larger by", "ge": 0, "le": 1e6},
    "together": {"zh": "所有参数一起裁剪", "en": "all parameters are clipped together"},
}
COLUMNS = {
    "entry": {"zh": "第几个数", "en": "entry"},
    "kind": {"zh": "裁剪方式", "en": "clipping"},
    "value": {"zh": "数值", "en": "value"},
}
METRICS = {
    "norm_before": {"zh": "裁剪前的范数", "en": "norm before"},
    "norm_after_norm": {"zh": "按范数裁剪后的范数", "en": "norm after clipping by norm"},
    "norm_after_value": {"zh": "按数值裁剪后的范数", "en": "norm after clipping by value"},
    "cos_norm": {"zh": "按范数：与原梯度的余弦", "en": "by norm: cosine with the original"},
    "cos_value": {"zh": "按数值：与原梯度的余弦", "en": "by value: cosine with the original"},
    "turn_norm": {"zh": "按范数：1 − 余弦", "en": "by norm: 1 − cosine"},
    "turn_value": {"zh": "按数值：1 − 余弦", "en": "by value: 1 − cosine"},
    "share_norm": {"zh": "按范数：离群值占平方长度的份额", "en": "by norm: fraction of the outliers"},
    "share_value": {"zh": "按数值：离群值占平方长度的份额", "en": "by value: fraction of the outliers"},
    "nan_after_inf": {"zh": "梯度里有一个 inf：裁剪后 nan 的个数", "en": "one inf in the gradient: nan afterwards"},
    "zero_after_inf": {"zh": "梯度里有一个 inf：裁剪后 0 的个数", "en": "one inf in the gradient: zeros afterwards"},
}
WORDS = {
    "none": {"zh": "不裁剪", "en": "not clipped"},
    "norm": {"zh": "按范数", "en": "by norm"},
    "value": {"zh": "按数值", "en": "by value"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "entry", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "kind", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]


def run(
    n: int = 100, clip: float = 1.0, outliers: int = 5, scale: float = 10.0, together: bool = True
) -> Generator[Row, None, Metrics]:
    gradient = torch.randn(n)
    gradient[:outliers] *= scale
    by_norm = clipped(gradient, clip, "norm" if together else "norm of each")
    by_value = clipped(gradient, clip, "value")
    for kind, vector in (("none", gradient), ("norm", by_norm), ("value", by_value)):
        for entry in range(min(n, 60)):
            yield {"entry": entry + 1, "kind": kind, "value": vector[entry].item()}
    spoiled = gradient.clone()
    spoiled[0] = torch.inf
    after = clipped(spoiled, clip, "norm")
    cosines = {kind: cosine(vector, gradient) for kind, vector in (("norm", by_norm), ("value", by_value))}
    return {
        "norm_before": norm(gradient),
        "norm_after_norm": norm(by_norm),
        "norm_after_value": norm(by_value),
        "cos_norm": cosines["norm"],
        "cos_value": cosines["value"],
        "turn_norm": 1 - cosines["norm"],
        "turn_value": 1 - cosines["value"],
        "share_norm": share(by_norm[:outliers], by_norm),
        "share_value": share(by_value[:outliers], by_value),
        "nan_after_inf": int(after.isnan().sum()),
        "zero_after_inf": int((after == 0).sum()),
    }


def clipped(gradient: Tensor, clip: float, by: str) -> Tensor:
    """What PyTorch makes of this gradient, which belongs to two parameters of half the length each."""
    halves = []
    for half in gradient.tensor_split(2):
        halves.append(torch.nn.Parameter(torch.zeros_like(half)))
        halves[-1].grad = half.clone()
    if by == "norm":
        clip_grad_norm_(halves, clip)
    for parameter in halves:
        if by == "norm of each":
            clip_grad_norm_([parameter], clip)
        elif by == "value":
            clip_grad_value_([parameter], clip)
    return torch.cat([parameter.grad for parameter in halves])


def norm(vector: Tensor) -> float:
    return float(vector.double().norm())


def cosine(a: Tensor, b: Tensor) -> float:
    """The cosine of the angle, never above 1 by rounding; nan for a gradient of 0."""
    lengths = norm(a) * norm(b)
    return min(1.0, float(a.double() @ b.double()) / lengths) if lengths else math.nan


def share(part: Tensor, whole: Tensor) -> float:
    """How much of the squared length lies in this part; nan for a gradient of 0."""
    length = norm(whole)
    return (norm(part) / length) ** 2 if length else math.nan


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
