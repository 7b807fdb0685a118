"""fan_in keeps the size of activations, fan_out that of gradients; only where widths differ do the two disagree.

A ReLU network without biases whose widths alternate, `wide`, `narrow`, `wide`, …, or shrink step by step from `wide` to
`narrow` (shape = funnel, evenly on a log scale), `layers` matrices, `batch` inputs N(0, 1), float64. The same random
numbers are scaled three ways: fan_in Var(W) = 2/n_in, fan_out 2/n_out, average 4/(n_in + n_out). Measured per layer: by
what factor E[h²] changes on the way forward and the mean square of the gradient entries on the way back, starting from
noise N(0, 1) at the output; shown are the first layer (wide to narrower) and the product over all layers.

Theory: a layer multiplies E[h²] by n_in·Var(W)/2 and the gradient's mean square by n_out·Var(W)/2. So fan_in gives 1
and n_out/n_in, fan_out n_in/n_out and 1. In an alternating network these factors cancel in pairs; in a funnel they
multiply up to the ratio of the first width and the last. Source: He et al. 2015, Delving deep into rectifiers, ICCV.
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "fan_in 与 fan_out", "en": "fan_in against fan_out"}
PARAMS = {
    "wide": {"zh": "较宽的宽度", "en": "the wider width", "unit": "unit", "ge": 8, "le": 1024},
    "narrow": {"zh": "较窄的宽度", "en": "the narrower width", "unit": "unit", "ge": 8, "le": 1024},
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 20},
    "batch": {"zh": "样本数", "en": "samples", "ge": 1, "le": 256},
    "shape": {"zh": "宽度怎样变化", "en": "how the widths change"},
}
LIMITS = [{"product": ["wide", "narrow", "layers"], "le": 4000000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "初始化与方向", "en": "initialisation and direction"},
    "mean_square": {"zh": "均方值（起点为 1）", "en": "mean square (1 where it starts)"},
}
METRICS = {
    "fan_in_forward": {"zh": "fan_in：第一层前向的倍数", "en": "fan_in: first layer, forward factor"},
    "fan_in_backward": {"zh": "fan_in：第一层反向的倍数", "en": "fan_in: first layer, backward factor"},
    "fan_out_forward": {"zh": "fan_out：第一层前向的倍数", "en": "fan_out: first layer, forward factor"},
    "fan_out_backward": {"zh": "fan_out：第一层反向的倍数", "en": "fan_out: first layer, backward factor"},
    "average_forward": {"zh": "取平均：第一层前向的倍数", "en": "average: first layer, forward factor"},
    "average_backward": {"zh": "取平均：第一层反向的倍数", "en": "average: first layer, backward factor"},
    "fan_in_forward_total": {"zh": "fan_in：全部层前向的倍数", "en": "fan_in: all layers, forward factor"},
    "fan_in_backward_total": {"zh": "fan_in：全部层反向的倍数", "en": "fan_in: all layers, backward factor"},
    "fan_out_forward_total": {"zh": "fan_out：全部层前向的倍数", "en": "fan_out: all layers, forward factor"},
    "fan_out_backward_total": {"zh": "fan_out：全部层反向的倍数", "en": "fan_out: all layers, backward factor"},
    "theory_ratio": {"zh": "第一层的 n_out/n_in", "en": "n_out/n_in of the first layer"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "mean_square", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
WORDS = {
    "fan_in forward": {"zh": "fan_in 前向", "en": "fan_in forward"},
    "fan_in backward": {"zh": "fan_in 反向", "en": "fan_in backward"},
    "fan_out forward": {"zh": "fan_out 前向", "en": "fan_out forward"},
    "fan_out backward": {"zh": "fan_out 反向", "en": "fan_out backward"},
    "average forward": {"zh": "取平均 前向", "en": "average forward"},
    "average backward": {"zh": "取平均 反向", "en": "average backward"},
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]


def run(
    wide: int = 512,
    narrow: int = 128,
    layers: int = 6,
    batch: int = 64,
    shape: Literal["alternate", "funnel"] = "alternate",
) -> Generator[Row, None, Metrics]:
    sizes = widths(wide, narrow, layers, shape)
    x = torch.randn(batch, wide).double()
    matrices = [torch.randn(a, b).double() for a, b in pairwise(sizes)]
    noise = torch.randn(batch, sizes[-1]).double()
    measured: Metrics = {"theory_ratio": sizes[1] / sizes[0]}
    for mode in ("fan_in", "fan_out", "average"):
        states = [x.requires_grad_()]
        for matrix in matrices:
            n_in, n_out = matrix.shape
            fan = {"fan_in": n_in, "fan_out": n_out}.get(mode, (n_in + n_out) / 2)
            states.append((states[-1] @ matrix * math.sqrt(2 / fan)).relu())
        back = [mean_square(g) for g in torch.autograd.grad(states[-1], states, noise)]
        forward = [mean_square(h) for h in states]
        for way, values, origin in (("forward", forward, forward[0]), ("backward", back, back[-1])):
            for layer, value in enumerate(values):
                yield {"layer": layer, "series": f"{mode} {way}", "mean_square": value / origin}
        measured |= {f"{mode}_forward": forward[1] / forward[0], f"{mode}_backward": ratio(back[0], back[1])}
        if mode != "average":
            measured |= {
                f"{mode}_forward_total": forward[-1] / forward[0],
                f"{mode}_backward_total": back[0] / back[-1],
            }
    return measured


def widths(wide: int, narrow: int, layers: int, shape: str) -> list[int]:
    """The widths from the input to the last layer."""
    if shape == "alternate":
        return [narrow if i % 2 else wide for i in range(layers + 1)]
    return [round(wide * (narrow / wide) ** (i / layers)) for i in range(layers + 1)]


def mean_square(t: Tensor) -> float:
    """Over samples and units."""
    return float(t.detach().square().mean())


def ratio(a: float, b: float) -> float:
    """a/b; nan where a dead network leaves 0/0."""
    return a / b if b else math.nan


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
