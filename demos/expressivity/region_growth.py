"""A deep random ReLU net has about as many straight pieces as a shallow one of as many units; a built sawtooth has 2^m.

Three nets of one input, for m = 1 … layers, the random ones on [−3, 3], the built one on [0, 1]. Deep: m hidden
layers of `width` units. Shallow: one hidden layer of m·width units. Both random: weights N(0, σ_w²/fan-in), biases
N(0, 1), untrained. Sawtooth: m layers of two units, h ← 2·relu(h) − 4·relu(h − ½), the hat function folded onto
itself. All in float64, on 16385 equally spaced points, counting runs of points with one activation pattern (random
nets) or one sign of the slope (sawtooth, whose kinks are grid points). Pieces narrower than the grid go uncounted.
The nets of m + 1 layers contain the first m layers of the nets before.

Theory: the sawtooth has 2^m pieces with 2m units (Telgarsky); one hidden layer has at most units + 1; a random net's
expected number grows like the number of units, whatever the depth (Hanin & Rolnick 2019), for weights of about He's
scale. Source: Montúfar, Pascanu, Cho & Bengio 2014, On the number of linear regions; Hanin & Rolnick 2019, Complexity
of linear regions in deep networks.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "深度与线性区间的个数", "en": "Depth and the number of straight pieces"}
PARAMS = {
    "layers": {"zh": "层数 m", "en": "layers m", "unit": "layer", "ge": 1, "le": 12},
    "width": {"zh": "每层宽度", "en": "units per layer", "unit": "unit", "ge": 2, "le": 64},
    "sigma_w": {"zh": "权重尺度 σ_w", "en": "weight scale σ_w", "ge": 0.1, "le": 20},
}
LIMITS = [{"product": ["layers", "width"], "le": 256}]
COLUMNS = {
    "layer": {"zh": "层数", "en": "layers"},
    "deep": {"zh": "深的随机网络", "en": "deep random net"},
    "shallow": {"zh": "同样多神经元的浅网络", "en": "shallow random net, as many units"},
    "sawtooth": {"zh": "锯齿网络（每层 2 个神经元）", "en": "sawtooth net, 2 units per layer"},
}
METRICS = {
    "deep_random": {"zh": "深的随机网络的区间数", "en": "pieces of the deep random net"},
    "shallow_random": {"zh": "浅的随机网络的区间数", "en": "pieces of the shallow random net"},
    "sawtooth": {"zh": "锯齿网络的区间数", "en": "pieces of the sawtooth net"},
    "theory_sawtooth": {"zh": "理论：2 的 m 次方", "en": "theory: 2 to the m"},
    "units_random": {"zh": "随机网络的神经元数", "en": "units of the random nets"},
    "units_sawtooth": {"zh": "锯齿网络的神经元数", "en": "units of the sawtooth net"},
    "deep_over_shallow": {"zh": "深浅两个随机网络的区间数之比", "en": "pieces, deep over shallow"},
    "sawtooth_over_deep": {"zh": "锯齿与深随机网络的区间数之比", "en": "pieces, sawtooth over deep random"},
}
CHART = {
    "transform": [{"fold": ["deep", "shallow", "sawtooth"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Layer = tuple[Tensor, Tensor]


def run(layers: int = 5, width: int = 16, sigma_w: float = 1.4142) -> Generator[Row, None, Metrics]:
    x = torch.arange(16385, dtype=torch.float64)[:, None] / 16384
    deep = [random_layer(1 if i == 0 else width, width, sigma_w) for i in range(layers)]
    wide = random_layer(1, layers * width, sigma_w)
    start = 6 * x - 3
    h, tooth = start, x
    changed = torch.zeros(len(x) - 1, dtype=torch.bool)
    for m in range(1, layers + 1):
        weight, bias = deep[m - 1]
        z = h @ weight + bias
        changed |= flips(z)
        h = z.relu()
        tooth = 2 * tooth.relu() - 4 * (tooth - 0.5).relu()
        found: Row = {
            "deep": int(changed.sum()) + 1,
            "shallow": int(flips(start @ wide[0][:, : m * width] + wide[1][: m * width]).sum()) + 1,
            "sawtooth": int(flips(tooth.diff(dim=0)).sum()) + 1,
        }
        yield {"layer": m, **found}
    return {
        "deep_random": found["deep"],
        "shallow_random": found["shallow"],
        "sawtooth": found["sawtooth"],
        "theory_sawtooth": 2**layers,
        "units_random": layers * width,
        "units_sawtooth": 2 * layers,
        "deep_over_shallow": found["deep"] / found["shallow"],
        "sawtooth_over_deep": found["sawtooth"] / found["deep"],
    }


def random_layer(fan_in: int, units: int, sigma_w: float) -> Layer:
    weight = torch.randn(fan_in, units, dtype=torch.float64) * (sigma_w / math.sqrt(fan_in))
    return weight, torch.randn(units, dtype=torch.float64)


def flips(z: Tensor) -> Tensor:
    """Between which neighbouring points some unit goes on or off."""
    on = z > 0
    return (on[1:] != on[:-1]).any(dim=1)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
