"""Comparing two devices layer by layer names the faulty layer only if both get the same input at every layer.

A net of `layers` layers h → tanh(`gain`·W·h), width 64, W orthogonal, in float32, runs on device A and on device B.
Device B differs in `case`. rounding: it adds in another order, nothing is wrong. zeros: at layer `place` an in-place
result is never written, so it stays 0. strided: at that layer it reads the transposed W as if it were contiguous. nan:
at that layer one output in a thousand is nan. The outputs are compared in two ways: each device runs by itself (free),
or device B gets the input that A has at every layer (forced).

Measured per layer: the relative difference of the outputs, and how many layers exceed 0.001. Theory: in a free run
everything after the fault differs as well, and rounding itself grows by about the gain per layer where tanh is not
saturated; in a forced run each layer answers for itself. Random: W and the input.
Source: PyTorch issue 118115 (in-place addcdiv on non-contiguous tensors on MPS).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "逐层比较两台设备", "en": "Two devices compared layer by layer"}
PARAMS = {
    "case": {"zh": "设备 B 哪里不同", "en": "what is different on device B"},
    "layers": {"zh": "层数", "en": "number of layers", "ge": 4, "le": 100},
    "place": {"zh": "出错的层", "en": "faulty layer", "ge": 1, "le": 100},
    "gain": {"zh": "每层的增益", "en": "gain of a layer", "ge": 0.5, "le": 5},
}
LIMITS = [{"ascending": ["place", "layers"]}]
COLUMNS = {
    "layer": {"zh": "层", "en": "layer"},
    "free": {"zh": "各跑各的：相对差", "en": "each by itself: relative difference"},
    "forced": {"zh": "输入相同：相对差", "en": "same input: relative difference"},
}
METRICS = {
    "free_layers": {"zh": "各跑各的：差别超过千分之一的层数", "en": "each by itself: layers off by more than 0.001"},
    "forced_layers": {"zh": "输入相同：差别超过千分之一的层数", "en": "same input: layers off by more than 0.001"},
    "forced_layer": {"zh": "输入相同：第一个不同的层", "en": "same input: first layer that differs", "unit": "layer"},
    "free_end": {"zh": "各跑各的：输出的相对差", "en": "each by itself: relative difference of the output"},
    "forced_least": {"zh": "输入相同：其余各层最大的相对差", "en": "same input: largest difference of other layers"},
}
CHART = {
    "transform": [{"fold": ["free", "forced"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
WIDTH, BATCH, LIMIT = 64, 32, 1e-3


def run(
    case: Literal["rounding", "zeros", "strided", "nan"] = "zeros",
    layers: int = 30,
    place: int = 12,
    gain: float = 1.5,
) -> Generator[Row, None, Metrics]:
    on_a = on_b = torch.randn(BATCH, WIDTH)
    free, forced = [], []
    for layer in range(1, layers + 1):
        weight = gain * torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q
        fault = case if layer == place else "rounding"
        next_a = device_a(on_a, weight)
        forced.append(difference(device_b(on_a, weight, fault), next_a))
        on_b = device_b(on_b, weight, fault)
        free.append(difference(on_b, next_a))
        on_a = next_a
        yield {"layer": layer, "free": free[-1], "forced": forced[-1]}
    wrong = [layer for layer, size in enumerate(forced, 1) if not size <= LIMIT]
    return {
        "free_layers": sum(not size <= LIMIT for size in free),
        "forced_layers": len(wrong),
        "forced_layer": wrong[0] if wrong else None,
        "free_end": free[-1],
        "forced_least": max((size for size in forced if size <= LIMIT), default=math.nan),
    }


def device_a(h: Tensor, weight: Tensor) -> Tensor:
    """tanh(W·h), products added from the first to the last."""
    total = torch.zeros(len(h), WIDTH)
    for column, weights in zip(h.T.unsqueeze(2).unbind(), weight.T.unbind(), strict=True):
        total = total + column * weights
    return torch.tanh(total)


def device_b(h: Tensor, weight: Tensor, fault: str) -> Tensor:
    """The same in the opposite order, or with a fault."""
    if fault == "zeros":
        return torch.zeros(len(h), WIDTH)
    if fault == "strided":
        weight = weight.T
    output = device_a(h.flip(1), weight.flip(1))
    if fault == "nan":
        output.view(-1)[::1000] = math.nan
    return output


def difference(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of what is expected, in float64."""
    return float((found - expected).double().norm() / expected.double().norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
