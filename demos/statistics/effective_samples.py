"""The mean of n samples is as exact as n independent ones make it; copies, series and groups are worth less.

n samples with mean 0 and variance 1 are averaged; over `trials` repetitions the variance of that mean is measured.
With independent samples it is 1/n; otherwise it is D/n with the design effect D, and the n samples are worth n/D.
- copies: the second half is paired with the first; sample and partner have correlation rho (rho = 1: exact copies, as
  when a batch is doubled by duplicating it; rho = 0: fresh samples). D = 1 + rho.
- series: a stationary AR(1) series, neighbours have correlation rho. D = 1 + 2·Σ_{k<n} (1 − k/n)·rho^k →
  (1+rho)/(1−rho).
- groups: groups of `group` samples (one patient, one user, one video), any two of a group have correlation rho; a last
  incomplete group is allowed. D = 1 + rho·(Σ m² − n)/n with the group sizes m, so 1 + (group − 1)·rho.
Also measured: the variance of the mean of the first n/2 samples, to see what doubling n brings. Everything is in
float64. The gradient of ½(θ − x)² is θ − x, so the same numbers hold for the noise of a mini-batch gradient.
Source: Bottou, Curtis & Nocedal 2018.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "相关的样本值多少个独立样本", "en": "How many independent samples dependent ones are worth"}
PARAMS = {
    "n": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 2, "le": 2000},
    "kind": {"zh": "怎样相关", "en": "kind of dependence"},
    "rho": {"zh": "相关系数", "en": "correlation", "ge": 0, "le": 1},
    "group": {"zh": "每组多少个样本", "en": "samples in a group", "unit": "sample", "ge": 1, "le": 2000},
    "trials": {"zh": "重复次数", "en": "repetitions", "ge": 200, "le": 20000},
}
LIMITS = [{"product": ["n", "trials"], "le": 10000000}]
COLUMNS = {
    "n": {"zh": "前多少个样本", "en": "first samples"},
    "measured": {"zh": "实测：平均值的方差", "en": "variance of the mean, measured"},
    "independent": {"zh": "若独立：1/n", "en": "if independent: 1/n"},
}
METRICS = {
    "noise": {"zh": "n 个样本平均值的方差", "en": "variance of the mean of n samples"},
    "noise_half": {"zh": "前一半样本平均值的方差", "en": "variance of the mean of the first half"},
    "doubling_ratio": {"zh": "样本加倍后噪声是原来的几倍", "en": "noise after doubling over noise before"},
    "n_over_effective": {"zh": "几个样本才抵一个独立样本", "en": "samples that make one independent sample"},
    "theory": {"zh": "理论：几个才抵一个", "en": "samples that make one, in theory"},
    "effective": {"zh": "相当于多少个独立样本", "en": "worth this many independent samples", "unit": "sample"},
    "error": {"zh": "实测与理论的相对偏差", "en": "relative distance from theory"},
}
CHART = {
    "transform": [{"fold": ["measured", "independent"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "n", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    n: int = 64,
    kind: Literal["copies", "series", "groups"] = "copies",
    rho: float = 1.0,
    group: int = 10,
    trials: int = 4000,
) -> Generator[Row, None, Metrics]:
    samples = draw(n, kind, rho, group, trials)
    sums = samples.cumsum(1)
    shown = sorted({max(1, round(n * i / 40)) for i in range(1, 41)})
    for m in shown:
        yield {"n": m, "measured": float((sums[:, m - 1] / m).pow(2).mean()), "independent": 1 / m}
    half = n // 2
    noise, noise_half = float((sums[:, -1] / n).pow(2).mean()), float((sums[:, half - 1] / half).pow(2).mean())
    theory = design_effect(n, kind, rho, group)
    return {
        "noise": noise,
        "noise_half": noise_half,
        "doubling_ratio": noise / noise_half,
        "n_over_effective": noise * n,
        "theory": theory,
        "effective": 1 / noise,
        "error": abs(noise * n / theory - 1),
    }


def draw(n: int, kind: str, rho: float, group: int, trials: int) -> Tensor:
    """Samples, trials × n, of mean 0 and variance 1."""
    fresh = torch.randn(trials, n, dtype=torch.float64)
    if kind == "copies":
        half = n // 2
        fresh[:, half : 2 * half] = rho * fresh[:, :half] + math.sqrt(1 - rho * rho) * fresh[:, half : 2 * half]
    elif kind == "series":
        for t in range(1, n):
            fresh[:, t] = rho * fresh[:, t - 1] + math.sqrt(1 - rho * rho) * fresh[:, t]
    else:
        common = torch.randn(trials, math.ceil(n / group), dtype=torch.float64)
        shared = common.repeat_interleave(group, dim=1)[:, :n]
        fresh = math.sqrt(rho) * shared + math.sqrt(1 - rho) * fresh
    return fresh


def design_effect(n: int, kind: str, rho: float, group: int) -> float:
    """n·Var(mean), exactly."""
    if kind == "copies":
        return 1 + rho * 2 * (n // 2) / n
    if kind == "series":
        return 1 + 2 * sum((1 - k / n) * rho**k for k in range(1, n))
    full, rest = divmod(n, group)
    return 1 + rho * (full * group**2 + rest**2 - n) / n


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
