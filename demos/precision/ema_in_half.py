"""A moving average of weights in bfloat16 stops far from the weights: what it should add is less than half a gap.

16 averages follow 16 weights that go from 1 to 1 + `x` in the first half of `n` steps, in a straight line, and then
stay there: a ← d·a + (1 − d)·w with decay d. The average is kept in `form`, computed in float32 and rounded at every
step (stored), in float32 (wide), or in `form` with random rounding (random). Weights carry noise of a thousandth of x.

Measured: the distance of each average from the weights at the end over x, and the last step at which the stored
average changed. Theory: an increment (1 − d)·(w − a) is lost below half the gap of neighbouring numbers, 2⁻⁸ of the
value in bfloat16, 2⁻¹¹ in float16: the average stops at a distance of about that over 1 − d. Random: noise and
rounding.
Source: Karras et al. 2024, Analyzing and improving the training dynamics of diffusion models (weight averages).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "半精度的权重滑动平均（EMA）", "en": "A moving average of weights in half precision"}
PARAMS = {
    "form": {"zh": "平均的格式", "en": "format of the average"},
    "decay": {"zh": "衰减系数", "en": "decay", "ge": 0.5, "le": 0.9999},
    "x": {"zh": "权重移动的距离", "en": "distance that weights move", "ge": 1e-4, "le": 100},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 100, "le": 6000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "weight": {"zh": "权重", "en": "weights"},
    "stored": {"zh": "半精度的平均", "en": "average in the format"},
    "wide": {"zh": "float32 的平均", "en": "average in float32"},
    "random": {"zh": "随机舍入的平均", "en": "average with random rounding"},
}
METRICS = {
    "stored": {"zh": "半精度：离权重的距离（除以移动距离）", "en": "in the format: distance from the weights over x"},
    "wide": {"zh": "float32：离权重的距离", "en": "in float32: distance from the weights over x"},
    "random": {"zh": "随机舍入：离权重的距离", "en": "random rounding: distance from the weights over x"},
    "last_change": {"zh": "半精度的平均最后一次变化的步", "en": "last step that changed the average", "unit": "step"},
    "theory": {"zh": "预测停住的距离", "en": "predicted distance at which it stops, over x"},
}
CHART = {
    "transform": [{"fold": ["weight", "stored", "wide", "random"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
FORMS = {"bfloat16": (torch.bfloat16, 8), "float16": (torch.float16, 11), "float32": (torch.float32, 24)}


def run(
    form: Literal["bfloat16", "float16", "float32"] = "bfloat16", decay: float = 0.999, x: float = 1.0, n: int = 4000
) -> Generator[Row, None, Metrics]:
    kind, bits = FORMS[form]
    stored = wide = random = torch.ones(16)
    last = None
    for step in range(1, n + 1):
        weight = 1 + x * min(2 * step / n, 1.0) + 1e-3 * x * torch.randn(16)
        before = stored
        stored = average(stored, weight, decay).to(kind).float()
        random = at_random(average(random, weight, decay), bits)
        wide = average(wide, weight, decay)
        if not torch.equal(stored, before):
            last = step
        if step % max(n // 50, 1) == 0:
            means = {"weight": weight, "stored": stored, "wide": wide, "random": random}
            yield {"step": step, **{name: float(values.double().mean()) for name, values in means.items()}}
    target = 1 + x
    gap = torch.finfo(kind).eps * 2.0 ** (math.ceil(math.log2(target)) - 1)
    distances = {"stored": stored, "wide": wide, "random": random}
    return {
        **{name: abs(float(values.double().mean()) - target) / x for name, values in distances.items()},
        "last_change": last,
        "theory": gap / 2 / (1 - decay) / x,
    }


def average(old: Tensor, weight: Tensor, decay: float) -> Tensor:
    """d·a + (1 − d)·w, as a + (1 − d)·(w − a)."""
    return old + (1 - decay) * (weight - old)


def at_random(values: Tensor, bits: int) -> Tensor:
    """Rounded to so many bits, up or down with the probability that keeps the mean."""
    mantissa, exponent = torch.frexp(values.double())
    scaled = mantissa * 2.0**bits
    return torch.ldexp(torch.floor(scaled + torch.rand(values.shape, dtype=torch.float64)), exponent - bits).float()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
