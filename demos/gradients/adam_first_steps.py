"""Adam's first steps have full length in every coordinate, however noisy the gradient: 4 times the usual step.

1000 parameters; the gradient of each at step t is 1 + `x`·ε, ε ~ N(0, 1) anew at each step: `x` is the noise relative
to the signal. Adam with β₁ = 0.9, `beta2`, no eps, four ways. size: the rms over the parameters of the update, divided
by the learning rate; cosine: of the update with the true gradient.

plain        with bias correction: at step 1 m̂/√v̂ = g/|g|, so the size is exactly 1 whatever x
uncorrected  without: (1 − β₁)/√(1 − β₂) at step 1, 3.16 for β₂ = 0.999, and more in the next steps
warmup       plain, the rate rising linearly over the first `warm` steps
radam        rectified Adam: no division by √v while v̂ rests on too few gradients (ρ ≤ 5; the update is then m̂ itself,
             in units of the gradient, 1), afterwards the rectification term r ≤ 1 times the update

With noise only, the size settles at √((1 − β₁)/(1 + β₁)) = 0.23 (theory_settled). wasted: distance that the parameters
move across the true gradient in `warm` steps, in learning rates. Everything in float64. Random: ε.
Source: Kingma & Ba 2015, Adam; Liu et al. 2020, On the variance of the adaptive learning rate and beyond.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "Adam 最初几步有多长", "en": "The length of Adam's first steps"}
PARAMS = {
    "x": {"zh": "噪声比信号", "en": "noise relative to the signal", "ge": 0, "le": 1e6},
    "beta2": {"zh": "β₂", "en": "β₂", "ge": 0.5, "le": 0.99999},
    "warm": {"zh": "预热步数", "en": "steps of warm-up", "unit": "step", "ge": 1, "le": 1000},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 2000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "plain": {"zh": "更新的大小：Adam", "en": "size of the update: Adam"},
    "uncorrected": {"zh": "更新的大小：没有偏差校正", "en": "size of the update: no bias correction"},
    "warmup": {"zh": "更新的大小：预热", "en": "size of the update: warm-up"},
    "radam": {"zh": "更新的大小：RAdam", "en": "size of the update: RAdam"},
}
METRICS = {
    "first": {"zh": "第一步的大小", "en": "size of the first step"},
    "first_uncorrected": {"zh": "第一步的大小：没有偏差校正", "en": "size of the first step: no bias correction"},
    "first_warmup": {"zh": "第一步的大小：预热", "en": "size of the first step: warm-up"},
    "largest_uncorrected": {"zh": "最大的一步：没有偏差校正", "en": "largest step: no bias correction"},
    "settled": {"zh": "后一半步的大小", "en": "size in the second half of the steps"},
    "cosine_first": {"zh": "第一步与真梯度的余弦", "en": "cosine of the first step with the true gradient"},
    "cosine_settled": {"zh": "后一半步与真梯度的余弦", "en": "cosine in the second half of the steps"},
    "wasted": {"zh": "预热期内横向走的距离：Adam", "en": "distance across the gradient: Adam"},
    "wasted_uncorrected": {"zh": "同上：没有偏差校正", "en": "the same: no bias correction"},
    "wasted_warmup": {"zh": "同上：预热", "en": "the same: warm-up"},
    "theory_uncorrected": {"zh": "(1 − β₁)/√(1 − β₂)", "en": "(1 − β₁)/√(1 − β₂)"},
    "theory_settled": {"zh": "只有噪声时 √((1 − β₁)/(1 + β₁))", "en": "noise only: √((1 − β₁)/(1 + β₁))"},
}
CHART = {
    "transform": [{"fold": ["plain", "uncorrected", "warmup", "radam"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("plain", "uncorrected", "warmup", "radam")
BETA1, D = 0.9, 1000


def run(x: float = 10.0, beta2: float = 0.999, warm: int = 20, n: int = 400) -> Generator[Row, None, Metrics]:
    m, v = torch.zeros(2, D, dtype=torch.float64)
    sizes: dict[str, list[float]] = {way: [] for way in WAYS}
    across = {way: torch.zeros(D, dtype=torch.float64) for way in WAYS}
    cosines = []
    for t in range(1, n + 1):
        gradient = 1 + x * torch.randn(D).double()
        m = BETA1 * m + (1 - BETA1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        updates = all_updates(m, v, t, beta2, warm)
        for way, update in updates.items():
            sizes[way].append(rms(update))
            if t <= warm:
                across[way] += update - update.mean()
        cosines.append(updates["plain"].mean().item() / (rms(updates["plain"]) or 1))
        yield {"step": t, **{way: sizes[way][-1] for way in WAYS}}
    late = slice(n // 2, None)
    return {
        "first": sizes["plain"][0],
        "first_uncorrected": sizes["uncorrected"][0],
        "first_warmup": sizes["warmup"][0],
        "largest_uncorrected": max(sizes["uncorrected"]),
        "settled": mean(sizes["plain"][late]),
        "cosine_first": cosines[0],
        "cosine_settled": mean(cosines[late]),
        "wasted": rms(across["plain"]),
        "wasted_uncorrected": rms(across["uncorrected"]),
        "wasted_warmup": rms(across["warmup"]),
        "theory_uncorrected": (1 - BETA1) / math.sqrt(1 - beta2),
        "theory_settled": math.sqrt((1 - BETA1) / (1 + BETA1)),
    }


def all_updates(m: Tensor, v: Tensor, t: int, beta2: float, warm: int) -> dict[str, Tensor]:
    """The update of each way at step t, in learning rates."""
    mean_gradient = m / (1 - BETA1**t)
    plain = mean_gradient / (v / (1 - beta2**t)).sqrt()
    longest = 2 / (1 - beta2) - 1
    rho = longest - 2 * t * beta2**t / (1 - beta2**t)
    top = (rho - 4) * (rho - 2) * longest
    rectified = math.sqrt(top / ((longest - 4) * (longest - 2) * rho)) * plain if rho > 5 else mean_gradient
    return {
        "plain": plain,
        "uncorrected": m / v.sqrt(),
        "warmup": plain * min(1, t / warm),
        "radam": rectified,
    }


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt().item())


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
