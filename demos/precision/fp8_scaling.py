"""float8 without a scale turns small tensors into zeros; a scale from the largest entry cures it, a stale one cuts off.

At each of 40 steps a tensor of 4096 numbers, `x`·N(0, 1), from step 21 on `jump` times larger, one entry in 4096 being
`outlier` times larger throughout, is stored in float8 `form` and multiplied back: as it is (none), with a scale from
its own largest entry (current), from the largest of the 16 steps before, as in delayed scaling (delayed), or with a
scale of its own for each 32 entries (block). Scales are powers of two that bring the largest entry to the upper half of
the range; what is too large all the same is cut off at the largest number, as training libraries do.

Measured: the rms error over that of the tensor, the outlier left out. Theory: E4M3 has 4 bits, numbers from 2⁻⁹ to 448,
E5M2 3 bits, 2⁻¹⁶ to 57344; a normal number is off by at most 2⁻⁴ or 2⁻³. After a jump by f the delayed scale is too
large by f, and all entries above 1/f to 2/f of the largest are cut off. Random: the tensors.
Source: Micikevicius et al. 2022, FP8 formats for deep learning; Rouhani et al. 2023, Microscaling data formats.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "float8 的缩放", "en": "Scales for float8"}
PARAMS = {
    "form": {"zh": "float8 格式", "en": "float8 format"},
    "x": {"zh": "张量的标准差", "en": "standard deviation of the tensor", "ge": 1e-12, "le": 1e6},
    "jump": {"zh": "第 21 步起放大", "en": "from step 21 on times", "ge": 1, "le": 1e6},
    "outlier": {"zh": "一个离群值放大", "en": "one outlier times", "ge": 1, "le": 1e9},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "none": {"zh": "不缩放：误差", "en": "no scale: error"},
    "current": {"zh": "当前缩放：误差", "en": "current scale: error"},
    "delayed": {"zh": "延迟缩放：误差", "en": "delayed scale: error"},
    "block": {"zh": "分块缩放：误差", "en": "block scale: error"},
}
METRICS = {
    "none": {"zh": "不缩放：平均误差", "en": "no scale: mean error"},
    "current": {"zh": "当前缩放：平均误差", "en": "current scale: mean error"},
    "delayed": {"zh": "延迟缩放：平均误差", "en": "delayed scale: mean error"},
    "block": {"zh": "分块缩放：平均误差", "en": "block scale: mean error"},
    "delayed_worst": {"zh": "延迟缩放：最大误差", "en": "delayed scale: largest error"},
    "delayed_worst_step": {"zh": "延迟缩放：误差最大的步", "en": "delayed scale: step of it", "unit": "step"},
    "delayed_cut": {"zh": "那一步被截断的比例", "en": "fraction cut off at that step"},
    "none_zero": {"zh": "不缩放：变成 0 的比例", "en": "no scale: fraction that becomes 0"},
    "current_zero": {"zh": "当前缩放：变成 0 的比例", "en": "current scale: fraction that becomes 0"},
    "largest": {"zh": "该格式的最大值", "en": "largest number of the format"},
    "smallest": {"zh": "该格式最小的正数", "en": "smallest positive number of the format"},
}
CHART = {
    "transform": [{"fold": ["none", "current", "delayed", "block"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ["none", "current", "delayed", "block"]
FORMS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


def run(
    form: Literal["e4m3", "e5m2"] = "e4m3", x: float = 1e-3, jump: float = 16.0, outlier: float = 1.0
) -> Generator[Row, None, Metrics]:
    kind = FORMS[form]
    largest = torch.finfo(kind).max
    history: list[float] = []
    rows: list[Row] = []
    cut, zeros, current_zeros = [], [], []
    for step in range(1, 41):
        tensor = x * (jump if step > 20 else 1) * torch.randn(4096, dtype=torch.float64)
        tensor[0] *= outlier
        top = tensor.abs().max().item()
        blocks = tensor.view(-1, 32).abs().amax(1, keepdim=True)
        scales = {
            "none": torch.ones(()),
            "current": scale_for(torch.tensor(top), largest),
            "delayed": scale_for(torch.tensor(max(history[-16:], default=top)), largest),
            "block": scale_for(blocks, largest).expand(-1, 32).reshape(-1),
        }
        stored = {way: float8(tensor * scales[way], kind) for way in WAYS}
        rows.append({"step": step, **{way: error(stored[way] / scales[way], tensor) for way in WAYS}})
        yield rows[-1]
        cut.append(((tensor * scales["delayed"]).abs() > largest).double().mean().item())
        zeros.append((stored["none"] == 0).double().mean().item())
        current_zeros.append((stored["current"] == 0).double().mean().item())
        history.append(top)
    worst = max(range(40), key=lambda index: rows[index]["delayed"])
    return {
        **{way: sum(row[way] for row in rows) / 40 for way in WAYS},
        "delayed_worst": rows[worst]["delayed"],
        "delayed_worst_step": worst + 1,
        "delayed_cut": cut[worst],
        "none_zero": sum(zeros) / 40,
        "current_zero": sum(current_zeros) / 40,
        "largest": largest,
        "smallest": torch.finfo(kind).smallest_normal * torch.finfo(kind).eps,
    }


def scale_for(top: Tensor, largest: float) -> Tensor:
    """The power of two that brings `top` to the upper half of the range; 1 for 0."""
    power = torch.floor(torch.log2(largest / top.double().clamp_min(1e-300)))
    return torch.where(top > 0, torch.exp2(power), 1.0)


def float8(values: Tensor, kind: torch.dtype) -> Tensor:
    """Rounded to float8, cut off at its largest number."""
    largest = torch.finfo(kind).max
    return values.clamp(-largest, largest).float().to(kind).double()


def error(found: Tensor, tensor: Tensor) -> float:
    """The rms error of all but the first entry over their rms."""
    return math.sqrt(float((found - tensor)[1:].square().mean() / tensor[1:].square().mean()))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
