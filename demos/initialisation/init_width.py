"""The same initialisation is a lottery in a narrow deep network and nearly a certainty in a wide one.

`trials` random ReLU networks without biases of `layers` square layers, h ← relu(W h), W ~ N(0, 2/width) (He), each fed
one input N(0, 1); what is measured is how far ln of the output's second moment, relative to the input's, scatters from
network to network (its standard deviation), in expectation the ratio is 1. Widths: 16, 64, 256 and your own, `width`.
A network whose units have all died gives 0 and no logarithm; such networks are counted apart and left out of the
scatter. float32 weights, moments in float64.

Theory: each layer adds about 5/width to the variance of that logarithm, so the scatter is √(5·layers/width), to leading
order in layers/width; what counts is depth over width. Source: Hanin 2018; Hanin & Nica 2020, Products of many large
random matrices and gradients in deep neural networks.
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "宽度与初始化的运气", "en": "Width and the luck of initialisation"}
PARAMS = {
    "width": {"zh": "你的宽度", "en": "your width", "unit": "unit", "ge": 1, "le": 512},
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 100},
    "trials": {"zh": "随机网络的个数", "en": "random networks", "ge": 2, "le": 200},
}
LIMITS = [
    {"product": ["layers", "trials", "width", "width"], "le": 200000000},
    {"product": ["layers", "trials"], "le": 3000},
]
COLUMNS = {
    "width": {"zh": "每层宽度", "en": "units per layer"},
    "scatter": {"zh": "ln 输出的标准差", "en": "standard deviation of ln output"},
    "theory": {"zh": "理论值", "en": "in theory"},
}
METRICS = {
    "scatter": {"zh": "你的宽度：ln 输出的标准差", "en": "your width: standard deviation of ln output"},
    "theory_scatter": {"zh": "你的宽度：标准差的理论值", "en": "your width: that in theory"},
    "factor": {"zh": "你的宽度：典型的倍数差别", "en": "your width: typical factor between networks"},
    "dead_share": {"zh": "你的宽度：全死的网络占多少", "en": "your width: fraction of networks that died"},
    "scatter_16": {"zh": "宽 16：ln 输出的标准差", "en": "width 16: standard deviation of ln output"},
    "scatter_64": {"zh": "宽 64：ln 输出的标准差", "en": "width 64: standard deviation of ln output"},
    "scatter_256": {"zh": "宽 256：ln 输出的标准差", "en": "width 256: standard deviation of ln output"},
    "narrow_over_wide": {"zh": "标准差：宽 16 是宽 256 的几倍", "en": "scatter: width 16 over width 256"},
}
CHART = {
    "transform": [{"fold": ["scatter", "theory"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "width", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | None]
Metrics = dict[str, float | None]


def run(width: int = 16, layers: int = 20, trials: int = 50) -> Generator[Row, None, Metrics]:
    found: dict[int, tuple[float | None, float]] = {}
    for units in sorted({16, 64, 256, width}):
        found[units] = scatter(units, layers, trials)
        yield {"width": units, "scatter": found[units][0], "theory": math.sqrt(5 * layers / units)}
    own, dead = found[width]
    narrow, wide = found[16][0], found[256][0]
    return {
        "scatter": own,
        "theory_scatter": math.sqrt(5 * layers / width),
        "factor": None if own is None else math.exp(min(own, 700.0)),
        "dead_share": dead,
        "scatter_16": narrow,
        "scatter_64": found[64][0],
        "scatter_256": wide,
        "narrow_over_wide": narrow / wide if narrow is not None and wide else None,
    }


def scatter(units: int, layers: int, trials: int) -> tuple[float | None, float]:
    """The standard deviation of ln(E[h²] out / in) over the networks still alive, and the share of dead ones."""
    h = torch.randn(trials, 1, units)
    start = h.double().square().mean((1, 2))
    for _ in range(layers):
        h = (h @ torch.randn(trials, units, units)).relu() * math.sqrt(2 / units)
    ratio = h.double().square().mean((1, 2)) / start
    alive = ratio[ratio > 0]
    dead = 1 - len(alive) / trials
    return (float(alive.log().std()) if len(alive) > 1 else None), dead


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
