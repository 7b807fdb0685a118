"""RMSNorm keeps the mean that LayerNorm takes off: no difference at a small mean, a third of the signal left at 3 std.

`n` rows of `d` features h = `scale`·(ε + `x`), ε ~ N(0, 1): x is the mean of a row in standard deviations. No gain.

layer  (h − mean)/√(var + `eps`)
rms    h/√(mean of h² + eps)

signal: the standard deviation of a row after the norm, 1 for layer, 1/√(1 + x²) for rms: the rest is the mean.
cosine: of the two outputs; 1/√(1 + x²) as well. slope: norm of the gradient that passes, for gradients from N(0, 1) at
the output, relative to 1/scale. shifted: |change of the output|/|output| if 1 is added to x. small: the output's rms
of rms for rows 1000 times smaller, where the eps decides. Everything in float64. The rows scan the mean.
Random: ε, the gradients at the output.
Source: Zhang & Sennrich 2019, Root mean square layer normalization; Ba et al. 2016, Layer normalization.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "RMSNorm 与 LayerNorm", "en": "RMSNorm and LayerNorm"}
PARAMS = {
    "x": {"zh": "每行的平均（以标准差计）", "en": "mean of a row in standard deviations", "ge": 0, "le": 1000},
    "scale": {"zh": "输入的大小", "en": "scale of the inputs", "ge": 1e-6, "le": 1e6},
    "eps": {"zh": "eps", "en": "eps", "ge": 1e-12, "le": 1},
    "d": {"zh": "特征数", "en": "features", "ge": 2, "le": 2048},
    "n": {"zh": "行数", "en": "rows", "ge": 1, "le": 256},
}
COLUMNS = {
    "x": {"zh": "平均", "en": "mean"},
    "layer": {"zh": "输出里的信号：LayerNorm", "en": "signal in the output: LayerNorm"},
    "rms": {"zh": "输出里的信号：RMSNorm", "en": "signal in the output: RMSNorm"},
}
METRICS = {
    "signal_layer": {"zh": "输出里的信号：LayerNorm", "en": "signal in the output: LayerNorm"},
    "signal_rms": {"zh": "输出里的信号：RMSNorm", "en": "signal in the output: RMSNorm"},
    "cosine": {"zh": "两种输出的余弦", "en": "cosine of the two outputs"},
    "difference": {"zh": "两种输出的相对差", "en": "relative difference of the two outputs"},
    "slope_layer": {"zh": "通过的梯度：LayerNorm", "en": "gradient that passes: LayerNorm"},
    "slope_rms": {"zh": "通过的梯度：RMSNorm", "en": "gradient that passes: RMSNorm"},
    "shifted_layer": {"zh": "平移后输出的变化：LayerNorm", "en": "change of the output by a shift: LayerNorm"},
    "shifted_rms": {"zh": "平移后输出的变化：RMSNorm", "en": "change of the output by a shift: RMSNorm"},
    "small": {"zh": "输入小千倍时的输出：RMSNorm", "en": "output for rows 1000 times smaller: RMSNorm"},
    "theory_signal": {"zh": "1/√(1 + x²)", "en": "1/√(1 + x²)"},
}
CHART = {
    "transform": [{"fold": ["layer", "rms"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 3.0, scale: float = 1.0, eps: float = 1e-6, d: int = 512, n: int = 64
) -> Generator[Row, None, Metrics]:
    noise, upstream = torch.randn(n, d).double(), torch.randn(n, d).double()
    for k in range(17):
        at = x * k / 16
        h = scale * (noise + at)
        yield {"x": at, "layer": signal(layer(h, eps)), "rms": signal(root(h, eps))}
    h, moved = scale * (noise + x), scale * (noise + x + 1)
    by_layer, by_root = layer(h, eps), root(h, eps)
    slopes = {}
    for way, norm in (("layer", layer), ("rms", root)):
        leaf = h.clone().requires_grad_()
        (slope,) = torch.autograd.grad((norm(leaf, eps) * upstream).sum(), leaf)
        slopes[way] = (slope.norm() / upstream.norm()).item() * scale
    return {
        "signal_layer": signal(by_layer),
        "signal_rms": signal(by_root),
        "cosine": torch.cosine_similarity(by_layer, by_root).mean().item(),
        "difference": ((by_layer - by_root).norm() / by_layer.norm()).item(),
        "slope_layer": slopes["layer"],
        "slope_rms": slopes["rms"],
        "shifted_layer": ((layer(moved, eps) - by_layer).norm() / by_layer.norm()).item(),
        "shifted_rms": ((root(moved, eps) - by_root).norm() / by_root.norm()).item(),
        "small": root(h / 1000, eps).square().mean().sqrt().item(),
        "theory_signal": 1 / math.sqrt(1 + x * x),
    }


def layer(h: Tensor, eps: float) -> Tensor:
    centred = h - h.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()


def root(h: Tensor, eps: float) -> Tensor:
    return h / (h.square().mean(-1, keepdim=True) + eps).sqrt()


def signal(outputs: Tensor) -> float:
    """The standard deviation within a row, averaged over the rows."""
    return float(outputs.std(-1, unbiased=False).mean().item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
