"""A gradient sum in float16 overflows with enough ranks; dividing before the sum prevents it, until gradients vanish.

Each of `ranks` ranks has a gradient of 256 entries, `x`·(1 + N(0, 1)/2): a part common to all and noise of its own.
They are added one rank after another in a number format, rounded after each addition, as in a ring. Ways: the sum is
divided by the number of ranks afterwards (after); every rank divides first (before); every rank divides by a power of
two near √ranks first and the sum by the rest (split); the same as after, but added in float32 (single).

Measured for 1, 2, 4, … ranks: the rms error over the rms of the exact mean, inf for a sum that overflowed, and the
fractions of entries that are inf or 0. Theory: the sum is about x·ranks, float16 ends at 65504; divided first, x/ranks
must stay above 6·10⁻⁵, below which float16 loses bits, and 3·10⁻⁸, below which it is 0. Random: the gradients.
Source: Micikevicius et al. 2018, Mixed precision training; IEEE 754-2019.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "半精度的梯度求和与卡数", "en": "Gradient sums in half precision and the number of ranks"}
PARAMS = {
    "form": {"zh": "归约的格式", "en": "format of the reduction"},
    "x": {"zh": "每张卡的梯度（含损失缩放）", "en": "gradient on a rank, loss scale included", "ge": 1e-12, "le": 1e4},
    "ranks": {"zh": "最多几张卡", "en": "largest number of ranks", "ge": 2, "le": 1024},
}
COLUMNS = {
    "ranks": {"zh": "卡数", "en": "number of ranks"},
    "after": {"zh": "先加后除：误差", "en": "sum, then divide: error"},
    "before": {"zh": "先除后加：误差", "en": "divide, then sum: error"},
    "split": {"zh": "前后各除一半：误差", "en": "half before, half after: error"},
    "single": {"zh": "float32 求和：误差", "en": "sum in float32: error"},
}
METRICS = {
    "after": {"zh": "先加后除：误差", "en": "sum, then divide: error"},
    "before": {"zh": "先除后加：误差", "en": "divide, then sum: error"},
    "split": {"zh": "前后各除一半：误差", "en": "half before, half after: error"},
    "single": {"zh": "float32 求和：误差", "en": "sum in float32: error"},
    "after_inf": {"zh": "先加后除：inf 的比例", "en": "sum, then divide: fraction that is inf"},
    "before_zero": {"zh": "先除后加：变成 0 的比例", "en": "divide, then sum: fraction that becomes 0"},
    "overflow_ranks": {"zh": "先加后除：首次溢出的卡数", "en": "sum, then divide: ranks at the first overflow"},
}
CHART = {
    "transform": [{"fold": ["after", "before", "split", "single"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "ranks", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
FORMS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def run(
    form: Literal["float16", "bfloat16"] = "float16", x: float = 200.0, ranks: int = 512
) -> Generator[Row, None, Metrics]:
    kind = FORMS[form]
    gradients = x * (1 + torch.randn(ranks, 256, dtype=torch.float64) / 2)
    overflow = None
    count = 1
    while True:
        means = averages(gradients[:count], kind)
        exact = gradients[:count].mean(0)
        row = {way: error(mean, exact) for way, mean in means.items()}
        yield {"ranks": count, **row}
        if overflow is None and not means["after"].isfinite().all():
            overflow = count
        if count == ranks:
            break
        count = min(2 * count, ranks)
    return {
        **row,
        "after_inf": float((~means["after"].isfinite()).double().mean()),
        "before_zero": float((means["before"] == 0).double().mean()),
        "overflow_ranks": overflow,
    }


def averages(gradients: Tensor, kind: torch.dtype) -> dict[str, Tensor]:
    """The mean over the first dimension in each of the four ways, in float64."""
    ranks = len(gradients)
    half = 2.0 ** round(torch.log2(torch.tensor(float(ranks))).item() / 2)
    return {
        "after": ring(gradients, kind, 1, ranks),
        "before": ring(gradients, kind, ranks, 1),
        "split": ring(gradients, kind, half, ranks / half),
        "single": ring(gradients, torch.float32, 1, ranks),
    }


def ring(gradients: Tensor, kind: torch.dtype, before: float, after: float) -> Tensor:
    """The sum of gradients/before, added in turn in the format, over `after`, rounded to the format each time."""
    parts = (gradients.to(kind).double() / before).to(kind)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return (total.double() / after).to(kind).double()


def error(found: Tensor, exact: Tensor) -> float:
    """The rms error over the rms of the exact mean."""
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
