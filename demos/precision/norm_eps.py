"""A layer norm whose statistics are in float16: eps becomes 0, a constant row nan, a row of 300s all zeros.

A row of `n` numbers, x·u with u ~ N(0, 1) standardised exactly, stored in `dtype`, is normalised: layer, (v −
mean)/√(var + eps), or rms, v/√(mean v² + eps). For x = 0 the row is constant: ones for layer, zeros for rms. naive:
every operation in `dtype`, rounded (sums are accumulated in float32 and rounded, as torch.mean does), as hand-written
code in a half-precision model does. careful: v is converted to float32, and the result back. Exact: float64, with eps
as given, on the numbers as stored. The chart has x·2^k (2^k for x = 0), k = −12 … 12.

Theory: eps below half the smallest number of the format is stored as 0 (3·10⁻⁸ in float16), squares below that are 0,
too, and squares above the largest are inf (|v| > 256 in float16). var + eps = 0 gives 0/0 = nan for a constant row, inf
for others; 1/√inf gives zeros, without a nan. Random: u. Source: Ba et al. 2016; Zhang & Sennrich 2019, RMSNorm.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "半精度里的 LayerNorm/RMSNorm", "en": "LayerNorm and RMSNorm in half precision"}
PARAMS = {
    "kind": {"zh": "归一化", "en": "norm"},
    "x": {"zh": "这一行的标准差", "en": "standard deviation of the row", "ge": 0, "le": 60000},
    "eps": {"zh": "eps", "en": "eps", "ge": 0, "le": 1},
    "n": {"zh": "这一行的长度", "en": "length of the row", "ge": 2, "le": 8192},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "size": {"zh": "标准差", "en": "standard deviation"},
    "naive": {"zh": "全在该类型里", "en": "all in the dtype"},
    "careful": {"zh": "统计量用 float32", "en": "statistics in float32"},
    "exact": {"zh": "准确", "en": "exact"},
}
METRICS = {
    "naive": {"zh": "全在该类型里：输出的均方根", "en": "all in the dtype: rms of the output"},
    "careful": {"zh": "统计量用 float32：输出的均方根", "en": "statistics in float32: rms of the output"},
    "exact": {"zh": "准确的输出均方根", "en": "exact rms of the output"},
    "naive_nan": {"zh": "全在该类型里：nan 的比例", "en": "all in the dtype: fraction of nan"},
    "naive_finite": {"zh": "全在该类型里：有限的比例", "en": "all in the dtype: fraction of finite numbers"},
    "careful_finite": {"zh": "统计量用 float32：有限的比例", "en": "statistics in float32: fraction finite"},
    "careful_error": {"zh": "统计量用 float32：误差", "en": "statistics in float32: error"},
    "stored_eps": {"zh": "eps 存进该类型后的值", "en": "eps as stored"},
    "largest_square": {"zh": "该类型里最大的平方", "en": "largest square in the dtype"},
}
CHART = {
    "transform": [{"fold": ["naive", "careful", "exact"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the first operation on a small deviation: its square root of squares, here without eps
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "adam_step", "spacing": "halving", "n": 12, "x": 1e-3},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    kind: Literal["layer", "rms"] = "layer",
    x: float = 0.0,
    eps: float = 1e-12,
    n: int = 1024,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    u = torch.randn(n, dtype=torch.float64)
    u = (u - u.mean()) / u.std(correction=0)
    for k in range(-12, 13):
        size = (x or 1.0) * 2.0**k
        outputs = normalised((u * size).to(form), kind, eps)
        yield {"size": size, **{name: rms(value) for name, value in outputs.items()}}
    row = (u * x).to(form) if x else torch.full((n,), 1.0 if kind == "layer" else 0.0, dtype=form)
    outputs = normalised(row, kind, eps)
    naive, careful, exact = outputs["naive"], outputs["careful"].double(), outputs["exact"]
    return {
        **{name: rms(value) for name, value in outputs.items()},
        "naive_nan": naive.isnan().double().mean().item(),
        "naive_finite": naive.isfinite().double().mean().item(),
        "careful_finite": careful.isfinite().double().mean().item(),
        "careful_error": rms(careful - exact),
        "stored_eps": torch.tensor(eps, dtype=form).item(),
        "largest_square": (row * row).max().item(),
    }


def normalised(row: Tensor, kind: str, eps: float) -> dict[str, Tensor]:
    """The row normalised in its own dtype, through float32, and in float64."""
    return {
        "naive": norm(row, kind, eps),
        "careful": norm(row.float(), kind, eps).to(row.dtype),
        "exact": norm(row.double(), kind, eps),
    }


def norm(row: Tensor, kind: str, eps: float) -> Tensor:
    """Each operation rounded to the dtype of the row, eps first."""
    centred = row - row.mean() if kind == "layer" else row
    return centred / ((centred * centred).mean() + torch.tensor(eps, dtype=row.dtype)).sqrt()


def rms(values: Tensor) -> float:
    return math.sqrt(float(values.double().square().mean()))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
