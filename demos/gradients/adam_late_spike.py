"""After a quiet stretch Adam's second moment is too small: the first large gradients make steps of 6 learning rates.

64 parameters, gradients r·ε + `drift`, ε ~ N(0, 1) anew at each step, r = 1 for `quiet` steps, then r = `x` for 40 more
(a rare batch, a layer that had been idle). Adam with β₁ = 0.9, no eps, three ways at once. The size of a step is the
rms of the update over the parameters, in learning rates.

slow     β₂ = 0.999
fast     β₂ = `beta2`
clipped  β₂ = 0.999 and update clipping: the update is divided by max(1, rms of g/√v), as in Adafactor and StableAdamW

If the new gradient is g, constant and much larger than all before, m = (1 − β₁ᵏ)·g and v = (1 − β₂ᵏ)·g² at its k-th
step: the size is (1 − β₁ᵏ)/√(1 − β₂ᵏ), at most 6.57 for β₂ = 0.999 (theory_slow), 1.12 for 0.95 (theory_fast).
moved: the distance in the 40 steps, rms over the parameters. Everything in float64. Random: ε.
Source: Shazeer & Stern 2018, Adafactor; Wortsman et al. 2023, Stable and low-precision training for large-scale
vision-language models; Molybog et al. 2023, A theory on Adam instability in large-scale machine learning.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "Adam 在安静之后的一步", "en": "Adam's step after a quiet stretch"}
PARAMS = {
    "x": {"zh": "梯度突然大几倍", "en": "growth of the gradient", "ge": 0.01, "le": 1e6},
    "quiet": {"zh": "此前的步数", "en": "steps before", "unit": "step", "ge": 1, "le": 6000},
    "beta2": {"zh": "另一个 β₂", "en": "the other β₂", "ge": 0.5, "le": 0.99999},
    "drift": {"zh": "梯度的平均", "en": "mean of the gradient", "ge": 0, "le": 1e6},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "slow": {"zh": "步长：β₂ = 0.999", "en": "size: β₂ = 0.999"},
    "fast": {"zh": "步长：另一个 β₂", "en": "size: the other β₂"},
    "clipped": {"zh": "步长：限制更新", "en": "size: update clipping"},
}
METRICS = {
    "before": {"zh": "此前的步长：β₂ = 0.999", "en": "size before: β₂ = 0.999"},
    "before_fast": {"zh": "此前的步长：另一个 β₂", "en": "size before: the other β₂"},
    "largest_slow": {"zh": "最大的一步：β₂ = 0.999", "en": "largest step: β₂ = 0.999"},
    "largest_fast": {"zh": "最大的一步：另一个 β₂", "en": "largest step: the other β₂"},
    "largest_clipped": {"zh": "最大的一步：限制更新", "en": "largest step: update clipping"},
    "moved_slow": {"zh": "40 步走的距离：β₂ = 0.999", "en": "distance in 40 steps: β₂ = 0.999"},
    "moved_fast": {"zh": "40 步走的距离：另一个 β₂", "en": "distance in 40 steps: the other β₂"},
    "moved_clipped": {"zh": "40 步走的距离：限制更新", "en": "distance in 40 steps: update clipping"},
    "theory_slow": {"zh": "上界：β₂ = 0.999", "en": "largest for a constant gradient: β₂ = 0.999"},
    "theory_fast": {"zh": "上界：另一个 β₂", "en": "largest for a constant gradient: the other β₂"},
}
CHART = {
    "transform": [{"fold": ["slow", "fast", "clipped"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("slow", "fast", "clipped")
BETA1, SLOW, LOUD, D = 0.9, 0.999, 40, 64


def run(x: float = 30.0, quiet: int = 2000, beta2: float = 0.95, drift: float = 0.0) -> Generator[Row, None, Metrics]:
    decay = torch.tensor([[SLOW], [beta2], [SLOW]], dtype=torch.float64)
    m = torch.zeros(D, dtype=torch.float64)
    v = torch.zeros(3, D, dtype=torch.float64)
    moved = torch.zeros(3, D, dtype=torch.float64)
    largest, before = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for t in range(1, quiet + LOUD + 1):
        gradient = drift + (x if t > quiet else 1) * torch.randn(D).double()
        m = BETA1 * m + (1 - BETA1) * gradient
        v = decay * v + (1 - decay) * gradient**2
        unbiased = v / (1 - decay**t)
        update = m / (1 - BETA1**t) / unbiased.sqrt()
        update[2] /= max(1, (gradient**2 / unbiased[2]).mean().sqrt().item())
        size = update.square().mean(1).sqrt()
        if t <= quiet:
            before = size if t == 1 else 0.95 * before + 0.05 * size
        else:
            moved += update
            largest = torch.maximum(largest, size)
        if t > quiet - 20:
            yield {"step": t, **dict(zip(WAYS, size.tolist(), strict=True))}
    return {
        "before": before[0].item(),
        "before_fast": before[1].item(),
        **{f"largest_{way}": largest[k].item() for k, way in enumerate(WAYS)},
        **{f"moved_{way}": rms(moved[k]) for k, way in enumerate(WAYS)},
        "theory_slow": largest_step(SLOW),
        "theory_fast": largest_step(beta2),
    }


def largest_step(beta2: float) -> float:
    """The largest size in LOUD steps of a constant gradient that dwarfs all before."""
    return max((1 - BETA1**k) / math.sqrt(1 - beta2**k) for k in range(1, LOUD + 1))


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt().item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
