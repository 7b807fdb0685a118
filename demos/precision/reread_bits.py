"""Numbers written in one format and read in another are unrelated to the written ones: plausible, tiny, sometimes nan.

100,000 numbers from N(0, 1)·`x` are stored in the format `written`, and the same bytes are read as the format `read`,
low byte first, as processors store them. A longer format gives two or four numbers for each one written, a shorter one
joins two or four. This is what a C++ program does that copies an engine's fp16 output into floats, or numpy with the
wrong dtype.

Measured: the fraction that is not finite; the median of |read|; of the numbers at the same place, those that are right
to 1 %; the correlation with the truth; and how many numbers are read for each one written. Theory: the low half of a
float32 is 16 random bits, and a float16 of random bits is inf or nan with probability 2⁻⁵, so 1/64 of all; bfloat16 and
float16 have 8 and 5 exponent bits, so bfloat16 numbers near 1 are all read as float16 numbers between 1.5 and 2.
Random: the numbers. Source: IEEE 754-2019, binary interchange formats.
"""

from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "用错格式读字节", "en": "Bytes read in the wrong format"}
PARAMS = {
    "written": {"zh": "写入的格式", "en": "format written"},
    "read": {"zh": "读取的格式", "en": "format read"},
    "x": {"zh": "数的标准差", "en": "standard deviation of the numbers", "ge": 1e-6, "le": 1e4},
}
COLUMNS = {
    "place": {"zh": "第几个数", "en": "place"},
    "truth": {"zh": "写入的数", "en": "number written"},
    "found": {"zh": "读出的数", "en": "number read"},
}
METRICS = {
    "nonfinite": {"zh": "inf 或 nan 的比例", "en": "fraction that is inf or nan"},
    "median": {"zh": "读出的数的中位大小", "en": "median size of the numbers read"},
    "median_truth": {"zh": "写入的数的中位大小", "en": "median size of the numbers written"},
    "right": {"zh": "同一位置上对到 1% 的比例", "en": "fraction right to 1 % at the same place"},
    "correlation": {"zh": "与真值的相关系数", "en": "correlation with the truth"},
    "count_ratio": {"zh": "读出与写入的个数之比", "en": "numbers read for each one written"},
}
CHART = {
    "transform": [{"fold": ["truth", "found"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "place", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
N = 100_000


def run(
    written: Literal["float32", "float16", "bfloat16", "float64"] = "float32",
    read: Literal["float32", "float16", "bfloat16", "float64"] = "float16",
    x: float = 1.0,
) -> Generator[Row, None, Metrics]:
    stored = (x * torch.randn(N, dtype=torch.float64)).to(getattr(torch, written))
    truth = stored.double()
    found = stored.view(torch.uint8).view(getattr(torch, read)).double()
    for k in range(24):
        yield {"place": k + 1, "truth": truth[k].item(), "found": found[k].item()}
    finite = found[found.isfinite()]
    both = min(len(found), N)
    here, there = found[:both], truth[:both]
    good = here.isfinite()
    return {
        "nonfinite": 1 - len(finite) / len(found),
        "median": finite.abs().median().item(),
        "median_truth": truth.abs().median().item(),
        "right": ((here - there).abs() <= 0.01 * there.abs()).double().mean().item(),
        "correlation": correlation(here[good], there[good]),
        "count_ratio": len(found) / N,
    }


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Pearson's, 0 where one does not vary; sums are scaled so that numbers up to 1e308 do not overflow."""
    a, b = ((v / max(v.abs().max().item(), 1e-300)) for v in (a, b))
    a, b = a - a.mean(), b - b.mean()
    size = (a.norm() * b.norm()).item()
    return float(a @ b) / size if size > 0 else 0.0


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
