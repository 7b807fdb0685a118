"""Backpropagation through the same W as the forward pass looks like an independent W, if the read-out is independent.

A ReLU net of `layers` layers, `width` units, W ~ N(0, 2/width), no biases, `batch` inputs N(0, 1). A gradient g_L
enters at the last layer and is carried back twice, with the same ReLU masks: with the transposes Wᵀ of the forward
weights, as backpropagation does, and with fresh independent matrices of the same distribution, as derivations assume.
Compared are the norms of the two gradients at the input, in float64. `readout`:

independent  g_L ~ N(0, 1), a random read-out, drawn independently of W
output       g_L = h_L, the gradient of ½‖h_L‖²: it depends on every W, and the assumption fails

Theory (width → ∞): the ratio tends to 1 for the independent read-out (Yang 2019); for g_L = h_L in a linear net of one
square Gaussian layer ‖WᵀWx‖² is twice ‖VWx‖², and deeper nets are further off.
Source: Yang 2019, Scaling limits of wide neural networks.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "反向传播用同一个 W，算独立吗", "en": "Is the W of the backward pass as good as independent?"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 50},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 1, "le": 1024},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 256},
    "readout": {"zh": "末层的梯度从哪来", "en": "gradient at the last layer"},
}
LIMITS = [
    {"product": ["layers", "width", "width"], "le": 10500000},
    {"product": ["layers", "width", "width", "batch"], "le": 1000000000},
]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "same": {"zh": "同一个 W", "en": "the same W"},
    "fresh": {"zh": "独立的 W", "en": "an independent W"},
}
METRICS = {
    "ratio": {"zh": "两种梯度范数之比", "en": "same W over independent W"},
    "distance": {"zh": "比值偏离 1 多少", "en": "distance of the ratio from 1"},
    "same_norm": {"zh": "同一个 W：输入处的梯度范数", "en": "same W: gradient norm at the input"},
    "fresh_norm": {"zh": "独立的 W：输入处的梯度范数", "en": "independent W: gradient norm at the input"},
    "same_rate": {"zh": "同一个 W：每层的倍数", "en": "same W: factor per layer"},
}
CHART = {
    "transform": [{"fold": ["same", "fresh"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    layers: int = 10, width: int = 512, batch: int = 32, readout: Literal["independent", "output"] = "independent"
) -> Generator[Row, None, Metrics]:
    std = (2 / width) ** 0.5
    h = torch.randn(batch, width)
    weights, masks = [], []
    for _ in range(layers):
        weights.append(std * torch.randn(width, width))
        z = h @ weights[-1]
        masks.append(z > 0)
        h = z.relu()
    end = torch.randn(batch, width) if readout == "independent" else h
    same = carried(end, weights, masks)
    fresh = carried(end, [std * torch.randn(width, width) for _ in weights], masks)
    for layer in range(layers + 1):
        yield {"layer": layer, "same": same[layer], "fresh": fresh[layer]}
    ratio = same[0] / fresh[0] if fresh[0] else None
    return {
        "ratio": ratio,
        "distance": abs(ratio - 1) if ratio is not None else None,
        "same_norm": same[0],
        "fresh_norm": fresh[0],
        "same_rate": (same[0] / same[-1]) ** (1 / layers) if same[-1] else None,
    }


def carried(gradient: Tensor, weights: list[Tensor], masks: list[Tensor]) -> list[float]:
    """The norms of the gradient at h_0 … h_L."""
    norms = [float(gradient.double().norm())]
    for w, mask in zip(reversed(weights), reversed(masks), strict=True):
        gradient = (gradient * mask) @ w.T
        norms.append(float(gradient.double().norm()))
    return norms[::-1]


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
