"""A unit that is off for every sample gets a gradient of exactly 0: a dead ReLU. Very negative biases make them.

A net of `layers` hidden layers of `width` units, `width` inputs N(0, 1), `batch` samples, weights N(0, 2/width) (He),
the first layer's biases all equal to `bias`, the others 0; a random linear read-out N(0, 1/width), summed over the
samples. float32. A unit of layer 1 is dead if its pre-activation is ≤ 0 for all samples; beside it the fraction of
columns of W₁ whose gradient is 0 in every entry, through all layers. With `act` = leaky (slope 0.01) a unit may be
off, but no gradient is 0.

Theory: given its weights w, a unit is off for one sample with probability Φ(−bias/‖w‖), for all of them with its
batch-th power. theory_dead averages this over ‖w‖² ~ (2/width)·χ²_width; theory_dead_one_norm takes ‖w‖ = √2 for all,
and is too small where the probability is. Source: Lu et al. 2020, Dying ReLU and initialization; Glorot, Bordes &
Bengio 2011.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch.nn.functional import leaky_relu

TITLE = {"zh": "死掉的 ReLU", "en": "Dead ReLUs"}
PARAMS = {
    "bias": {"zh": "第一层的偏置", "en": "bias of the first layer", "ge": -20, "le": 20},
    "layers": {"zh": "隐藏层数", "en": "hidden layers", "unit": "layer", "ge": 1, "le": 20},
    "width": {"zh": "每层宽度", "en": "units per layer", "unit": "unit", "ge": 1, "le": 512},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 512},
    "act": {"zh": "激活函数", "en": "activation"},
}
COLUMNS = {
    "unit": {"zh": "第几个神经元（按激活比例排序）", "en": "unit, sorted by how often it is on"},
    "on": {"zh": "被激活的样本比例", "en": "fraction of samples at which it is on"},
    "gradient": {"zh": "梯度范数与最大者之比", "en": "gradient norm over the largest"},
}
METRICS = {
    "dead_share": {"zh": "第一层从不激活的神经元比例", "en": "units of layer 1 that are never on"},
    "zero_gradient_share": {"zh": "第一层梯度恰好为 0 的神经元比例", "en": "units of layer 1 with gradient exactly 0"},
    "on_share": {"zh": "第一层激活的比例", "en": "fraction of activations on, layer 1"},
    "theory_on": {"zh": "理论：激活的比例", "en": "theory: fraction on"},
    "theory_dead": {"zh": "理论：从不激活的比例", "en": "theory: fraction never on"},
    "theory_dead_one_norm": {"zh": "同上，设各单元权重范数相同", "en": "the same, if all units had one norm"},
    "dead_share_last": {"zh": "最后一层从不激活的比例", "en": "units of the last layer that are never on"},
    "output_std": {"zh": "输出在样本间的标准差", "en": "standard deviation of the output over samples"},
}
CHART = {
    "transform": [{"fold": ["on", "gradient"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "unit", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    bias: float = -3.0,
    layers: int = 3,
    width: int = 256,
    batch: int = 256,
    act: Literal["relu", "leaky"] = "relu",
) -> Generator[Row, None, Metrics]:
    h = torch.randn(batch, width)
    weights = [torch.randn(width, width) * math.sqrt(2 / width) for _ in range(layers)]
    read_out = torch.randn(width, 1) / math.sqrt(width)
    weights[0].requires_grad_()
    on: list[torch.Tensor] = []
    for i, weight in enumerate(weights):
        z = h @ weight + (bias if i == 0 else 0.0)
        on.append((z > 0).double().mean(0))
        h = torch.relu(z) if act == "relu" else leaky_relu(z, 0.01)
    output = h @ read_out
    (gradient,) = torch.autograd.grad(output.sum(), weights[0])
    norms = gradient.double().norm(dim=0)
    largest = norms.max().clamp(min=torch.finfo(torch.float64).tiny)
    order = on[0].argsort(stable=True)
    every = max(1, width // 128)
    for rank, unit in enumerate(order.tolist()):
        if rank % every == 0 or rank == width - 1:
            yield {"unit": rank + 1, "on": on[0][unit].item(), "gradient": (norms[unit] / largest).item()}
    theory_on, theory_dead = in_theory(bias, width, batch)
    return {
        "dead_share": share(on[0] == 0),
        "zero_gradient_share": share(norms == 0),
        "on_share": on[0].mean().item(),
        "theory_on": theory_on,
        "theory_dead": theory_dead,
        "theory_dead_one_norm": below(-bias / math.sqrt(2)) ** batch,
        "dead_share_last": share(on[-1] == 0),
        "output_std": output.detach().double().std(correction=0).item(),
    }


def share(which: torch.Tensor) -> float:
    return float(which.double().mean())


def below(x: float) -> float:
    """Φ(x), the standard normal distribution function."""
    return math.erfc(-x / math.sqrt(2)) / 2


def in_theory(bias: float, width: int, batch: int) -> tuple[float, float]:
    """P(on) and P(off for all samples) of a unit, averaged over its norm √(2/width)·χ by the midpoint rule."""
    middle, spread = math.sqrt(width), 8.0
    lo, hi, steps = max(0.0, middle - spread), middle + spread, 4000
    on = dead = total = 0.0
    for i in range(steps):
        chi = lo + (hi - lo) * (i + 0.5) / steps
        density = math.exp((width - 1) * math.log(chi / middle) - (chi * chi - width) / 2)
        off = below(-bias / (math.sqrt(2 / width) * chi))
        on, dead, total = on + density * (1 - off), dead + density * off**batch, total + density
    return on / total, dead / total


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
