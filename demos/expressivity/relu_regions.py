"""A ReLU network of one input is exactly a broken line: on every piece it is straight to the last digit of float64.

A random network of one input, `layers` hidden layers of `width` units and one linear output: weights N(0, 2/fan-in)
(He), hidden biases N(0, 1), no output bias; float64, untrained. It is evaluated on 20001 equally spaced points of
[lo, hi]. A region is a run of neighbouring points at which the same units are on (pre-activation > 0). In each
region the output is compared with the chord through its two ends: for ReLU only rounding is left, for tanh it bends.
Regions narrower than the grid go uncounted, so wide networks have more than are found.
Theory: one hidden layer has at most width + 1 regions, one kink per unit at x = −b/w; with more layers this bound no
longer holds. Sources: Montúfar, Pascanu, Cho & Bengio 2014, On the number of linear regions of deep neural networks,
NIPS; Hanin & Rolnick 2019, Complexity of linear regions in deep networks, ICML.
"""

from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "ReLU 网络的线性区间", "en": "The straight pieces of a ReLU network"}
PARAMS = {
    "width": {"zh": "每层神经元数", "en": "units per layer", "ge": 1, "le": 1000},
    "layers": {"zh": "隐藏层数", "en": "hidden layers", "ge": 1, "le": 5},
    "lo": {"zh": "区间左端", "en": "left end", "ge": -100, "le": 100},
    "hi": {"zh": "区间右端", "en": "right end", "ge": -100, "le": 100},
    "act": {"zh": "激活函数", "en": "activation"},
}
LIMITS = [{"product": ["width", "layers"], "le": 1000}, {"ascending": ["lo", "hi"]}]
COLUMNS = {
    "x": {"zh": "输入 x", "en": "input x"},
    "output": {"zh": "网络的输出", "en": "output of the network"},
    "slope": {"zh": "输出的斜率", "en": "slope of the output"},
    "region": {"zh": "第几段", "en": "piece number"},
}
METRICS = {
    "regions": {"zh": "线性区间数", "en": "number of pieces"},
    "neurons": {"zh": "隐藏神经元总数", "en": "hidden units in all"},
    "theory_max_regions": {"zh": "一个隐藏层的区间数上限", "en": "most pieces with one hidden layer"},
    "regions_per_neuron": {"zh": "每个神经元平均的区间数", "en": "pieces per hidden unit"},
    "max_dev_from_line": {"zh": "区间内偏离直线的最大值", "en": "largest deviation from a line inside a piece"},
    "output_range": {"zh": "输出的最大值减最小值", "en": "range of the output"},
}
CHART = {
    "transform": [{"fold": ["output", "slope"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Layer = tuple[torch.Tensor, torch.Tensor]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "leaky": torch.nn.functional.leaky_relu}


def run(
    width: int = 32,
    layers: int = 1,
    lo: float = -3.0,
    hi: float = 3.0,
    act: Literal["relu", "tanh", "leaky"] = "relu",
) -> Generator[Row, None, Metrics]:
    hidden, readout = random_net(width, layers)
    x = torch.linspace(lo, hi, 20001, dtype=torch.float64)
    output, region = evaluate(hidden, readout, x, act)
    slope = output.diff() / x.diff()
    for i in range(0, len(slope), 50):
        yield {"x": x[i].item(), "output": output[i].item(), "slope": slope[i].item(), "region": region[i].item() + 1}
    regions = int(region[-1]) + 1
    return {
        "regions": regions,
        "neurons": width * layers,
        "theory_max_regions": width + 1 if layers == 1 else None,
        "regions_per_neuron": regions / (width * layers),
        "max_dev_from_line": deviation_from_chords(x, output, region),
        "output_range": (output.max() - output.min()).item(),
    }


def random_net(width: int, layers: int) -> tuple[list[Layer], torch.Tensor]:
    """Hidden layers with weights N(0, 2/fan-in) and biases N(0, 1), and the linear read-out."""
    hidden = []
    for fan_in in [1] + [width] * (layers - 1):
        weight = torch.randn(fan_in, width, dtype=torch.float64) * (2 / fan_in) ** 0.5
        hidden.append((weight, torch.randn(width, dtype=torch.float64)))
    return hidden, torch.randn(width, dtype=torch.float64) * (2 / width) ** 0.5


def evaluate(
    hidden: list[Layer], readout: torch.Tensor, x: torch.Tensor, act: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output at every x, and the number of the region it lies in (0, 1, 2 … from the left)."""
    outputs, changes, before = [], [], None
    for block in x[:, None].split(2000):
        h, on = block, []
        for weight, bias in hidden:
            z = h @ weight + bias
            on.append(z > 0)
            h = ACTIVATIONS[act](z)
        outputs.append(h @ readout)
        pattern = torch.cat(on, dim=1)
        left = torch.cat([pattern[:1] if before is None else before, pattern[:-1]])
        changes.append((pattern != left).any(dim=1))
        before = pattern[-1:]
    return torch.cat(outputs), torch.cat(changes).cumsum(0)


def deviation_from_chords(x: torch.Tensor, output: torch.Tensor, region: torch.Tensor) -> float:
    """The largest distance between the output and the straight line through the two ends of its region."""
    sizes = region.bincount()
    last = sizes.cumsum(0) - 1
    a, b = (last - sizes + 1)[region], last[region]
    run_x = (x[b] - x[a]).clamp(min=torch.finfo(x.dtype).tiny)  # a region of a single point is its own chord
    chord = output[a] + (output[b] - output[a]) * ((x - x[a]) / run_x)
    return float((output - chord).abs().max())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
