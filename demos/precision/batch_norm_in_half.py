"""Batch norm's running statistics in 16 bits: the average stalls short of its value, and a variance overflows.

One unit with values of mean `mean` and standard deviation `std`, `n` batches of 64. Running mean and variance start at
0 and 1 and are updated as r ← (1 − `momentum`)·r + `momentum`·b, b being the batch's statistic, computed in float32:
stored, the result is rounded to `form` after every step; wide, it is kept in float32. eval_*: the rms of values
normalised by these statistics in evaluation, (v − mean)/√(var + 1e-5), in float32: 1 is right.

one_pass: the batch's variance as E[v²] − E[v]² with v, v² and both means rounded to `form`; it loses what mean² has in
excess of the variance and may come out as 0 or negative, whose root is nan. bad_one_pass: fraction of the batches with
a variance that is negative, inf or nan.

Theory: the average stops where momentum·|b − r| is below half the gap between neighbours of r, at a relative distance
of at most 2^−p/momentum (p bits of significand: 8, 11, 24). float16 ends at 65504, so a standard deviation above 256
has a variance of inf, and evaluation outputs 0. Random: the values. Source: Ioffe & Szegedy 2015, Batch normalization.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "BN 的滑动统计量放在半精度里", "en": "Batch norm's running statistics in half precision"}
PARAMS = {
    "form": {"zh": "统计量的格式", "en": "format of the statistics"},
    "mean": {"zh": "均值", "en": "mean", "ge": -1e4, "le": 1e4},
    "std": {"zh": "标准差", "en": "standard deviation", "ge": 1e-3, "le": 1e4},
    "momentum": {"zh": "动量", "en": "momentum", "ge": 1e-4, "le": 1},
    "n": {"zh": "批数", "en": "batches", "ge": 10, "le": 2000},
}
COLUMNS = {
    "step": {"zh": "批", "en": "batch"},
    "stored": {"zh": "滑动均值，16 位", "en": "running mean, 16 bits"},
    "wide": {"zh": "滑动均值，float32", "en": "running mean, float32"},
}
METRICS = {
    "stored_mean": {"zh": "滑动均值", "en": "running mean"},
    "wide_mean": {"zh": "滑动均值，float32", "en": "running mean, float32"},
    "mean_error": {"zh": "滑动均值的相对误差", "en": "relative error of the running mean"},
    "wide_error": {"zh": "同上，float32", "en": "the same, float32"},
    "theory_error": {"zh": "停住时的相对距离，理论上限", "en": "relative distance at which it stalls, upper bound"},
    "stored_var": {"zh": "滑动方差", "en": "running variance"},
    "eval_stored": {"zh": "评估时输出的均方根", "en": "rms of the outputs in evaluation"},
    "eval_wide": {"zh": "同上，float32", "en": "the same, float32"},
    "bad_one_pass": {"zh": "方差为负、inf 或 nan 的批", "en": "fraction of batches with a bad variance"},
}
CHART = {
    "transform": [{"fold": ["stored", "wide"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
FORMS = {"float16": (torch.float16, 11), "bfloat16": (torch.bfloat16, 8), "float32": (torch.float32, 24)}
BATCH = 64


def run(
    form: Literal["bfloat16", "float16", "float32"] = "bfloat16",
    mean: float = 10.0,
    std: float = 1.0,
    momentum: float = 0.01,
    n: int = 1500,
) -> Generator[Row, None, Metrics]:
    kind, bits = FORMS[form]
    values = mean + std * torch.randn(n, BATCH)
    batches = torch.stack([values.mean(1), values.var(1)], 1)
    stored = wide = torch.tensor([0.0, 1.0])
    for step, batch in enumerate(batches, 1):
        stored = ((1 - momentum) * stored + momentum * batch).to(kind).float()
        wide = (1 - momentum) * wide + momentum * batch
        if step % max(1, n // 60) == 0:
            yield {"step": step, "stored": stored[0].item(), "wide": wide[0].item()}
    short = values.to(kind)
    one_pass = short.square().float().mean(1).to(kind) - short.float().mean(1).to(kind).square()
    return {
        "stored_mean": stored[0].item(),
        "wide_mean": wide[0].item(),
        "mean_error": relative(stored[0].item(), mean),
        "wide_error": relative(wide[0].item(), mean),
        "theory_error": 2.0**-bits / momentum,
        "stored_var": stored[1].item(),
        "eval_stored": evaluated(values, stored),
        "eval_wide": evaluated(values, wide),
        "bad_one_pass": (~(one_pass.isfinite() & (one_pass >= 0))).double().mean().item(),
    }


def relative(found: float, true: float) -> float:
    """The relative distance; the absolute one if the truth is 0."""
    return abs(found - true) / (abs(true) or 1.0)


def evaluated(values: torch.Tensor, statistics: torch.Tensor) -> float:
    """The rms of the normalised values, in float64."""
    outputs = (values - statistics[0]) / (statistics[1] + 1e-5).sqrt()
    return math.sqrt(float(outputs.double().square().mean()))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
