"""A residual network still multiplies: its variance doubles at every layer, until the branch is scaled by 1/√L.

Six networks of L = `layers` layers, no biases, share the same random numbers; inputs N(0,1), `batch` × `width`.
Plain: h ← relu(h·W) with W of variance 1/width (Xavier) or 2/width (He). Residual: h ← h + c·relu(h)·W, W He, with
c = 1, 1/√L, 1/L or 0; with branch "two_layer" it is h ← h + c·relu(h·W)·V, W Xavier, V He. The gain is the mean of h²
over batch and units after the last layer, divided by that of the input; in expectation it is 2^−L (plain Xavier), 1
(plain He), 2^L, (1 + 1/L)^L → e, (1 + 1/L²)^L and 1. A random gradient N(0,1) is sent back from the last layer:
grad_ratio is its Frobenius norm at the input over that at the output, about the square root of the gain. The states
are float32, the norms float64; at finite width the gains scatter widely (log-normal) around their expectation.
Source: He et al. 2016, Deep residual learning, CVPR; Zhang et al. 2019, Fixup, ICLR; De & Smith 2020, NeurIPS.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "残差网络的深度与方差", "en": "Depth and variance of residual networks"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 500},
    "width": {"zh": "每层宽度", "en": "width of each layer", "ge": 1, "le": 256},
    "batch": {"zh": "样本数", "en": "samples", "ge": 1, "le": 512},
    "branch": {"zh": "残差分支的结构", "en": "what the branch is"},
}
LIMITS = [{"product": ["layers", "width", "batch"], "le": 2500000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "plain_xavier": {"zh": "普通，Xavier", "en": "plain, Xavier"},
    "plain_kaiming": {"zh": "普通，He", "en": "plain, He"},
    "residual": {"zh": "残差，不缩放", "en": "residual, unscaled"},
    "scaled": {"zh": "残差，1/√L", "en": "residual, 1/√L"},
    "scaled_by_depth": {"zh": "残差，1/L", "en": "residual, 1/L"},
    "zero_branch": {"zh": "残差，分支为 0", "en": "residual, zero branch"},
}
METRICS = {
    "plain_xavier_gain": {"zh": "普通网络配 Xavier：方差放大", "en": "plain, Xavier: variance gain"},
    "plain_kaiming_gain": {"zh": "普通网络配 He：方差放大", "en": "plain, He: variance gain"},
    "residual_gain": {"zh": "不缩放的残差：方差放大", "en": "unscaled residual: variance gain"},
    "scaled_gain": {"zh": "分支乘 1/√L：方差放大", "en": "branch times 1/√L: variance gain"},
    "scaled_by_depth_gain": {"zh": "分支乘 1/L：方差放大", "en": "branch times 1/L: variance gain"},
    "zero_branch_gain": {"zh": "分支为 0：方差放大", "en": "zero branch: variance gain"},
    "theory_plain_xavier_gain": {"zh": "普通网络配 Xavier：理论值", "en": "plain, Xavier: gain in theory"},
    "theory_plain_kaiming_gain": {"zh": "普通网络配 He：理论值", "en": "plain, He: gain in theory"},
    "theory_residual_gain": {"zh": "不缩放的残差：理论值", "en": "unscaled residual: gain in theory"},
    "theory_scaled_gain": {"zh": "分支乘 1/√L：理论值", "en": "branch times 1/√L: gain in theory"},
    "theory_scaled_by_depth_gain": {"zh": "分支乘 1/L：理论值", "en": "branch times 1/L: gain in theory"},
    "theory_zero_branch_gain": {"zh": "分支为 0：理论值", "en": "zero branch: gain in theory"},
    "plain_xavier_grad_ratio": {"zh": "普通网络配 Xavier：梯度比", "en": "plain, Xavier: gradient ratio"},
    "plain_kaiming_grad_ratio": {"zh": "普通网络配 He：梯度比", "en": "plain, He: gradient ratio"},
    "residual_grad_ratio": {"zh": "不缩放的残差：梯度比", "en": "unscaled residual: gradient ratio"},
    "scaled_grad_ratio": {"zh": "分支乘 1/√L：梯度比", "en": "branch times 1/√L: gradient ratio"},
    "scaled_by_depth_grad_ratio": {"zh": "分支乘 1/L：梯度比", "en": "branch times 1/L: gradient ratio"},
    "zero_branch_grad_ratio": {"zh": "分支为 0：梯度比", "en": "zero branch: gradient ratio"},
}
CHART = {
    "transform": [
        {
            "fold": ["plain_xavier", "plain_kaiming", "residual", "scaled", "scaled_by_depth", "zero_branch"],
            "as": ["series", "value"],
        }
    ],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    layers: int = 100,
    width: int = 64,
    batch: int = 64,
    branch: Literal["pre_act", "two_layer"] = "pre_act",
) -> Generator[Row, None, Metrics]:
    scales = {"residual": 1.0, "scaled": 1 / math.sqrt(layers), "scaled_by_depth": 1 / layers, "zero_branch": 0.0}
    kinds = ("plain_xavier", "plain_kaiming", *scales)
    x = torch.randn(batch, width, requires_grad=True)
    states = dict.fromkeys(kinds, x)
    every = max(1, layers // 200)
    yield {"layer": 0} | dict.fromkeys(kinds, 1.0)
    for layer in range(1, layers + 1):
        xavier = torch.randn(width, width) / math.sqrt(width)
        he, second_he = math.sqrt(2) * xavier, math.sqrt(2 / width) * torch.randn(width, width)
        states["plain_xavier"] = (states["plain_xavier"] @ xavier).relu()
        states["plain_kaiming"] = (states["plain_kaiming"] @ he).relu()
        for kind, scale in scales.items():
            h = states[kind]
            step = h.relu() @ he if branch == "pre_act" else (h @ xavier).relu() @ second_he
            states[kind] = h + scale * step
        if layer % every == 0 or layer == layers:
            yield {"layer": layer} | {kind: power(h) / power(x) for kind, h in states.items()}
    sent_back = torch.randn(batch, width)
    expected = {
        "plain_xavier": 2.0**-layers,
        "plain_kaiming": 1.0,
        **{kind: (1 + scale**2) ** layers for kind, scale in scales.items()},
    }
    return (
        {f"{kind}_gain": power(h) / power(x) for kind, h in states.items()}
        | {f"theory_{kind}_gain": gain for kind, gain in expected.items()}
        | {f"{kind}_grad_ratio": grad_ratio(h, x, sent_back) for kind, h in states.items()}
    )


def power(h: Tensor) -> float:
    """The second moment: the mean of h² over batch and units, in float64."""
    return float(h.detach().double().square().mean())


def grad_ratio(h: Tensor, x: Tensor, sent_back: Tensor) -> float:
    """How many times larger the gradient is at x than it was at h."""
    (arrived,) = torch.autograd.grad(h, x, sent_back)
    return float(arrived.double().norm() / sent_back.double().norm())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
