"""Adam's second moment in 8 bits: with one scale small entries become 0 and steps explode; blocks or floats cure it.

4096 second moments v = s²·χ²/64, χ² of 64 degrees, as an average of many squared gradients has it, s spanning `spread`
orders of magnitude, sorted by size (case sorted: every row of a matrix has its own size) or shuffled (mixed), and first
moments m = 0.3·√v·N(0, 1). v is stored in 8 bits in four ways:
integers 0 to 255 with one scale, the largest entry (one); integers with a scale for each 64 entries (blocks); 8-bit
floating point, E4M3, with one scale (float); E4M3 with a scale for each 64 (both).

Measured: the fraction of v that becomes 0, and the step m/(√v + eps), eps = 1e-8: the rms of its error over the rms of
the exact step, and the largest step. Theory: integers reach 2⁹ below the largest entry, E4M3 2¹⁸; v spans twice as
many orders as the gradient; with v = 0 the step is m/eps. Random: s, v and m.
Source: Dettmers, Lewis, Shleifer & Zettlemoyer 2022, 8-bit optimizers via block-wise quantization.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "8 位的优化器状态", "en": "Optimiser state in 8 bits"}
PARAMS = {
    "case": {"zh": "大小怎样排列", "en": "how sizes are arranged"},
    "spread": {"zh": "梯度跨几个数量级", "en": "orders of magnitude of the gradient", "ge": 0, "le": 8},
}
COLUMNS = {
    "size": {"zh": "梯度的大小（组）", "en": "size of the gradient, group"},
    "one": {"zh": "整数，一个系数：步长误差", "en": "integers, one scale: error of the step"},
    "blocks": {"zh": "整数，分块：步长误差", "en": "integers, blocks: error of the step"},
    "float": {"zh": "浮点，一个系数：步长误差", "en": "float, one scale: error of the step"},
    "both": {"zh": "浮点，分块：步长误差", "en": "float, blocks: error of the step"},
}
METRICS = {
    "one_zero": {"zh": "整数，一个系数：变成 0 的比例", "en": "integers, one scale: fraction that becomes 0"},
    "blocks_zero": {"zh": "整数，分块：变成 0 的比例", "en": "integers, blocks: fraction that becomes 0"},
    "float_zero": {"zh": "浮点，一个系数：变成 0 的比例", "en": "float, one scale: fraction that becomes 0"},
    "both_zero": {"zh": "浮点，分块：变成 0 的比例", "en": "float, blocks: fraction that becomes 0"},
    "one_step": {"zh": "整数，一个系数：最大的步", "en": "integers, one scale: largest step"},
    "blocks_step": {"zh": "整数，分块：最大的步", "en": "integers, blocks: largest step"},
    "both_step": {"zh": "浮点，分块：最大的步", "en": "float, blocks: largest step"},
    "exact_step": {"zh": "准确的最大的步", "en": "exact largest step"},
    "one_err": {"zh": "整数，一个系数：步长误差", "en": "integers, one scale: error of the step"},
    "blocks_err": {"zh": "整数，分块：步长误差", "en": "integers, blocks: error of the step"},
    "both_err": {"zh": "浮点，分块：步长误差", "en": "float, blocks: error of the step"},
}
CHART = {
    "transform": [{"fold": ["one", "blocks", "float", "both"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
ENTRIES, DEGREES, BLOCK, EPS, GROUPS = 4096, 64, 64, 1e-8, 16


def run(case: Literal["sorted", "mixed"] = "sorted", spread: float = 4.0) -> Generator[Row, None, Metrics]:
    size = torch.logspace(-spread, 0, ENTRIES, dtype=torch.float64)
    if case == "mixed":
        size = size[torch.randperm(ENTRIES)]
    v = size.square() * torch.randn(ENTRIES, DEGREES, dtype=torch.float64).square().mean(1)
    m = 0.3 * v.sqrt() * torch.randn(ENTRIES, dtype=torch.float64)
    stored = {
        "one": integers(v, scale_of(v, ENTRIES)),
        "blocks": integers(v, scale_of(v, BLOCK)),
        "float": floats(v, scale_of(v, ENTRIES)),
        "both": floats(v, scale_of(v, BLOCK)),
    }
    exact = step(m, v)
    steps = {way: step(m, values) for way, values in stored.items()}
    for group in size.argsort().view(GROUPS, -1):
        errors = {way: error(steps[way][group], exact[group]) for way in steps}
        yield {"size": float(size[group].log().mean().exp()), **errors}
    return {
        **{f"{way}_zero": float((stored[way] == 0).double().mean()) for way in stored},
        **{f"{way}_step": float(steps[way].abs().max()) for way in ("one", "blocks", "both")},
        "exact_step": float(exact.abs().max()),
        **{f"{way}_err": error(steps[way], exact) for way in ("one", "blocks", "both")},
    }


def scale_of(v: Tensor, block: int) -> Tensor:
    """The largest entry of each block, one for every entry."""
    return v.view(-1, block).amax(1, keepdim=True).expand(-1, block).reshape(-1)


def integers(v: Tensor, scale: Tensor) -> Tensor:
    """Rounded to 0, 1, …, 255 times scale/255."""
    return torch.round(v / scale * 255) * scale / 255


def floats(v: Tensor, scale: Tensor) -> Tensor:
    """Rounded to E4M3, scaled so that the largest entry is its largest number, 448."""
    return (v / scale * 448).float().to(torch.float8_e4m3fn).double() * scale / 448


def step(m: Tensor, v: Tensor) -> Tensor:
    """Adam's step for a rate of 1."""
    return m / (v.sqrt() + EPS)


def error(found: Tensor, exact: Tensor) -> float:
    """The rms of the difference over the rms of the exact step."""
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
