"""In delayed float8 scaling one spike spoils as many steps as the history is long: its scale suits no other tensor.

At each of 80 steps a tensor of 4096 numbers N(0, 1) is stored in float8 `form` with a scale that brings an expected
largest entry into the upper half of the range, as a power of two; what is too large is cut off. At step 21 the tensor
has a spike: one entry is `spike`, or the whole tensor is that many times larger. The expected largest entry is the
largest of the last `history` steps (delayed), that of the step before (last), or that of the tensor itself (current).

Measured at each step: the rms error over the rms of the tensor, the spiked entry left out, if it is one; how many
steps after the spike are harmed (error above twice that before the spike); the fraction cut off at the spike. Theory:
after the spike the scale is `spike` times too small for `history` steps; E4M3 reaches down 2¹⁸ below its largest
number and loses bits from 2¹⁵ on, so that spikes beyond some thousands push ordinary entries out. Random: the tensors.
Source: Micikevicius et al. 2022, FP8 formats for deep learning.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "float8 的 amax 历史与尖峰", "en": "The amax history of float8 and a spike"}
PARAMS = {
    "form": {"zh": "float8 格式", "en": "float8 format"},
    "where": {"zh": "尖峰在哪", "en": "what spikes"},
    "spike": {"zh": "尖峰的倍数", "en": "spike, times", "ge": 1, "le": 1e8},
    "history": {"zh": "历史长度", "en": "length of the history", "ge": 1, "le": 50},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "delayed": {"zh": "历史最大值：误差", "en": "largest of the history: error"},
    "last": {"zh": "上一步的最大值：误差", "en": "largest of the step before: error"},
    "current": {"zh": "当前最大值：误差", "en": "current largest: error"},
}
METRICS = {
    "delayed_harmed": {"zh": "历史最大值：尖峰后受害的步数", "en": "history: steps harmed after the spike"},
    "last_harmed": {"zh": "上一步：尖峰后受害的步数", "en": "step before: steps harmed after the spike"},
    "current_harmed": {"zh": "当前：尖峰后受害的步数", "en": "current: steps harmed after the spike"},
    "after": {"zh": "历史最大值：尖峰后一步的误差", "en": "history: error at the step after the spike"},
    "after_zero": {"zh": "历史最大值：那一步变 0 的比例", "en": "history: fraction that is 0 at that step"},
    "usual": {"zh": "尖峰前的误差", "en": "error before the spike"},
    "delayed_spike": {"zh": "历史最大值：尖峰那步的误差", "en": "history: error at the spike"},
    "current_spike": {"zh": "当前：尖峰那步的误差", "en": "current: error at the spike"},
    "cut": {"zh": "尖峰那步被截断的比例", "en": "fraction cut off at the spike"},
}
CHART = {
    "transform": [{"fold": ["delayed", "last", "current"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
FORMS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
SPIKE_STEP, STEPS = 21, 80


def run(
    form: Literal["e4m3", "e5m2"] = "e4m3",
    where: Literal["entry", "tensor"] = "entry",
    spike: float = 1e6,
    history: int = 16,
) -> Generator[Row, None, Metrics]:
    kind = FORMS[form]
    tops: list[float] = []
    rows: list[Row] = []
    cut = after_zero = 0.0
    for step in range(1, STEPS + 1):
        tensor = torch.randn(4096, dtype=torch.float64)
        if step == SPIKE_STEP:
            tensor = torch.cat([torch.tensor([spike]), tensor[1:]]) if where == "entry" else spike * tensor
        top = tensor.abs().max().item()
        expected = {"delayed": max(tops[-history:], default=top), "last": (tops or [top])[-1], "current": top}
        scales = {way: scale_for(value, kind) for way, value in expected.items()}
        stored = {way: float8(tensor * scale, kind) for way, scale in scales.items()}
        ordinary = slice(1, None) if where == "entry" else slice(None)
        errors = {way: error(stored[way] / scales[way], tensor, ordinary) for way in stored}
        rows.append({"step": step, **errors})
        yield rows[-1]
        if step == SPIKE_STEP:
            cut = float((tensor.abs() * scales["delayed"] > torch.finfo(kind).max).double().mean())
        if step == SPIKE_STEP + 1:
            after_zero = float((stored["delayed"] == 0).double().mean())
        tops.append(top)
    before, at, after = rows[SPIKE_STEP - 2], rows[SPIKE_STEP - 1], rows[SPIKE_STEP:]
    return {
        **{f"{way}_harmed": sum(row[way] > 2 * before[way] for row in after) for way in ("delayed", "last", "current")},
        "after": after[0]["delayed"],
        "after_zero": after_zero,
        "usual": before["delayed"],
        "delayed_spike": at["delayed"],
        "current_spike": at["current"],
        "cut": cut,
    }


def scale_for(top: float, kind: torch.dtype) -> float:
    """The power of two that brings `top` to the upper half of the range."""
    return 2.0 ** math.floor(math.log2(torch.finfo(kind).max / top))


def float8(values: Tensor, kind: torch.dtype) -> Tensor:
    """Rounded to float8, cut off at its largest number."""
    largest = torch.finfo(kind).max
    return values.clamp(-largest, largest).float().to(kind).double()


def error(found: Tensor, tensor: Tensor, entries: slice) -> float:
    """The rms error of these entries over their rms."""
    return math.sqrt(float((found - tensor)[entries].square().mean() / tensor[entries].square().mean()))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
