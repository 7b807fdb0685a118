"""An update below half the gap between neighbouring numbers is rounded away, every time; rounding at random keeps it.

From `start`, `x` is added `n` times. In `dtype` with rounding to nearest; in `dtype` with stochastic rounding (up with
the probability that makes it right on average), 20 independent runs; and in a float32 master copy. A weight w with
updates −lr·g is start = w, x = −lr·g; a running sum is start = 0. Theory: at s, nearest rounding loses x if |x| is at
most half the gap on that side (a tie goes to the even neighbour; just below a power of 2 the gap is half as large).
Random: the stochastic roundings only. All arithmetic is done in float64 and rounded explicitly, which for these
formats is the same as computing in them. Source: Gupta et al. 2015, Deep learning with limited numerical precision,
ICML; Micikevicius et al. 2018.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "被舍入吞掉的更新", "en": "Updates swallowed by rounding"}
PARAMS = {
    "start": {"zh": "初值（权重）", "en": "start (the weight)", "ge": -60000, "le": 60000},
    "x": {"zh": "每步的更新", "en": "update per step", "ge": -1000, "le": 1000},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 20000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "nearest": {"zh": "舍入到最近", "en": "rounded to nearest"},
    "stochastic": {"zh": "随机舍入（一次）", "en": "stochastic rounding (one run)"},
    "stochastic_mean": {"zh": "随机舍入（20 次平均）", "en": "stochastic rounding (mean of 20)"},
    "master": {"zh": "float32 主权重", "en": "float32 master copy"},
}
METRICS = {
    "true_end": {"zh": "准确的终值", "en": "exact end"},
    "nearest_end": {"zh": "舍入到最近：终值", "en": "rounded to nearest: end"},
    "stochastic_mean": {"zh": "随机舍入：20 次终值的平均", "en": "stochastic rounding: mean end of 20 runs"},
    "stochastic_sd": {"zh": "随机舍入：终值的标准差", "en": "stochastic rounding: standard deviation of the end"},
    "master_end": {"zh": "float32 主权重：终值", "en": "float32 master copy: end"},
    "nearest_moved_steps": {
        "zh": "舍入到最近：真正动了的步数",
        "en": "to nearest: steps that moved it",
        "unit": "step",
    },
    "nearest_progress": {"zh": "舍入到最近：走了应走路程的几成", "en": "to nearest: fraction of the way that was made"},
    "stochastic_progress": {
        "zh": "随机舍入：走了应走路程的几成",
        "en": "stochastic: fraction of the way that was made",
    },
    "master_progress": {"zh": "主权重：走了应走路程的几成", "en": "master copy: fraction of the way that was made"},
    "stochastic_rel_err": {"zh": "随机舍入平均值的路程误差", "en": "stochastic: relative error of the mean way"},
    "half_gap_at_start": {
        "zh": "初值朝更新方向的间隔的一半",
        "en": "half the gap at the start, on the side of the update",
    },
    "update_over_half_gap": {"zh": "更新量与它之比", "en": "update over half the gap"},
}
CHART = {
    "transform": [{"fold": ["nearest", "stochastic", "stochastic_mean", "master"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the same update from the same start
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "update"}}]

Row = dict[str, float]
Metrics = dict[str, float | None]
RUNS = 20
DRAWN = 500  # steps for which the random numbers are drawn at once
EXPONENT = 0x7FF << 52


def run(
    start: float = 1.0,
    x: float = -1e-4,
    n: int = 1000,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> Generator[Row, None, Metrics]:
    form, wide = getattr(torch, dtype), torch.float32
    short_w, wide_w = (float(torch.tensor(start, dtype=kind)) for kind in (form, wide))
    short_x, wide_x = (float(torch.tensor(x, dtype=kind)) for kind in (form, wide))
    values = torch.tensor([short_w] * (RUNS + 1) + [wide_w], dtype=torch.float64)
    update = torch.tensor([short_x] * (RUNS + 1) + [wide_x], dtype=torch.float64)
    formats = Formats([form] * (RUNS + 1) + [wide])
    moved, nearest = 0, short_w
    every = max(1, n // 150)
    for step in range(n + 1):
        if step:
            if step % DRAWN == 1:
                chance = torch.rand(DRAWN if step + DRAWN <= n + 1 else n + 1 - step, RUNS, dtype=torch.float64)
            values = formats.rounded(values + update, chance[(step - 1) % DRAWN])
            before, nearest = nearest, float(values[RUNS])
            moved += nearest != before
        if step % every == 0 or step == n:
            yield {
                "step": step,
                "nearest": nearest,
                "stochastic": float(values[0]),
                "stochastic_mean": float(values[:RUNS].mean()),
                "master": float(values[RUNS + 1]),
            }
    ends = values[:RUNS]
    way = n * x
    towards = torch.nextafter(*torch.tensor([[short_w], [math.copysign(math.inf, x)]], dtype=torch.float64))
    half_gap = float(Formats([form]).gap(towards)) / 2
    mean = float(ends.mean())
    return {
        "true_end": start + way,
        "nearest_end": float(values[RUNS]),
        "stochastic_mean": mean,
        "stochastic_sd": float(ends.std(correction=0)),
        "master_end": float(values[RUNS + 1]),
        "nearest_moved_steps": moved,
        "nearest_progress": (float(values[RUNS]) - short_w) / way if way else None,
        "stochastic_progress": (mean - short_w) / way if way else None,
        "master_progress": (float(values[RUNS + 1]) - wide_w) / way if way else None,
        "stochastic_rel_err": abs((mean - short_w) / way - 1) if way else None,
        "half_gap_at_start": half_gap,
        "update_over_half_gap": abs(short_x) / half_gap,
    }


class Formats:
    """One format for each number of a vector."""

    def __init__(self, forms: list[torch.dtype]) -> None:
        limits = [torch.finfo(form) for form in forms]
        self.largest = torch.tensor([limit.max for limit in limits], dtype=torch.float64)
        self.least = torch.tensor([limit.smallest_normal for limit in limits], dtype=torch.float64)
        self.most = power_below(self.largest)
        self.eps = torch.tensor([limit.eps for limit in limits], dtype=torch.float64)

    def gap(self, values: Tensor) -> Tensor:
        """The distance between neighbouring numbers of the format around each value."""
        return power_below(values).clamp(self.least, self.most) * self.eps

    def rounded(self, values: Tensor, chance: Tensor) -> Tensor:
        """All but the last two at random, up with `chance`; those to nearest, a tie to even; too large is inf."""
        unit = self.gap(values)
        units = values / unit
        stored = torch.cat([(units[:RUNS] + chance).floor(), units[RUNS:].round()]) * unit
        return torch.where(stored.abs() > self.largest, stored * math.inf, stored)


def power_below(values: Tensor) -> Tensor:
    """The largest power of 2 not above each absolute value, by the exponent bits of float64; 0 for 0."""
    return (values.view(torch.int64) & EXPONENT).view(torch.float64)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
