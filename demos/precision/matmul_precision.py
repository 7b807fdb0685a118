"""TF32 products are right to three digits: plenty for a layer, useless where large products are to cancel.

40 pairs of vectors p, q of `n` numbers. product: a = p·q, for p, q ~ N(0, 1), as in a layer. distance: the squared
distance |p − q|² from |p|² + |q|² − 2·p·q, as fast nearest-neighbour code computes it, for p = `x` + N(0, 1), a cloud
with its centre at x, and q = p + N(0, 1)/10. centred: the same after the mean of all p is taken away.
In each mode the inputs of p·q are rounded first, then multiplied and added in float64 and rounded to float32, which
leaves the rounding of the inputs alone; |p|² and |q|² are elementwise, so always in float32:

float32   24 bits, no further rounding
tf32      11 bits, what tensor cores do with allow_tf32 or matmul precision "high"
bfloat16  8 bits, what "medium" may use
three     3 × TF32: p = p₁ + p₂ in TF32, p₁q₁ + p₁q₂ + p₂q₁

Theory: an input is off by at most 2⁻¹¹ in TF32, a sum of n random products by up to 2⁻¹¹·√(2n/3); a distance by twice
what p·q is off by, which is |p|²/|p − q|² times as much of itself. Random: the vectors.
Source: Ootomo & Yokota 2022, Recovering single precision accuracy from Tensor Cores; Higham 2002, ch. 1.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "TF32 的三位数字", "en": "The three digits of TF32"}
PARAMS = {
    "case": {"zh": "算什么", "en": "what is computed"},
    "x": {"zh": "数据的中心", "en": "centre of the data", "ge": 0, "le": 1e4},
    "n": {"zh": "向量长度", "en": "length of the vectors", "ge": 1, "le": 4096},
}
COLUMNS = {
    "pair": {"zh": "第几对", "en": "pair"},
    "exact": {"zh": "准确值", "en": "exact value"},
    "float32": {"zh": "float32", "en": "float32"},
    "tf32": {"zh": "TF32", "en": "TF32"},
    "bfloat16": {"zh": "bfloat16", "en": "bfloat16"},
    "three": {"zh": "3×TF32", "en": "3 × TF32"},
}
METRICS = {
    "exact_rms": {"zh": "准确值的均方根", "en": "rms of the exact values"},
    "float32": {"zh": "float32：相对误差", "en": "float32: relative error"},
    "tf32": {"zh": "TF32：相对误差", "en": "TF32: relative error"},
    "bfloat16": {"zh": "bfloat16：相对误差", "en": "bfloat16: relative error"},
    "three": {"zh": "3×TF32：相对误差", "en": "3 × TF32: relative error"},
    "tf32_over_float32": {"zh": "TF32 误差与 float32 之比", "en": "error of TF32 over that of float32"},
    "tf32_negative": {"zh": "TF32 算出负距离的比例", "en": "fraction of negative distances in TF32"},
    "theory_tf32": {"zh": "乘积的 TF32 误差（理论）", "en": "error of TF32 for products, in theory"},
}
CHART = {
    "transform": [{"fold": ["exact", "float32", "tf32", "three"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "pair", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
MODES = ["float32", "tf32", "bfloat16", "three"]
BITS = {"float32": 24, "tf32": 11, "bfloat16": 8}


def run(
    case: Literal["product", "distance", "centred"] = "product", x: float = 30.0, n: int = 256
) -> Generator[Row, None, Metrics]:
    p, q = torch.randn(40, n), torch.randn(40, n)
    if case != "product":
        p, q = p + x, p + x + q / 10
    exact = ((p.double() - q.double()) ** 2).sum(1) if case != "product" else (p.double() * q.double()).sum(1)
    if case == "centred":
        centre = p.mean(0)
        p, q = p - centre, q - centre
    found = {mode: value(p, q, case, mode) for mode in MODES}
    for pair in range(40):
        yield {"pair": pair, "exact": exact[pair].item(), **{mode: found[mode][pair].item() for mode in MODES}}
    size = rms(exact)
    errors = {mode: rms(found[mode] - exact) / size for mode in MODES}
    return {
        "exact_rms": size,
        **errors,
        "tf32_over_float32": errors["tf32"] / errors["float32"] if errors["float32"] else None,
        "tf32_negative": (found["tf32"] < 0).double().mean().item() if case != "product" else None,
        "theory_tf32": 2.0**-11 * (2 / 3) ** 0.5,
    }


def value(p: Tensor, q: Tensor, case: str, mode: str) -> Tensor:
    """Of each pair, with all products in `mode` and the additions of the distance in float32."""
    if case == "product":
        return dot(p, q, mode).double()
    return (dot(p, p, "float32") + dot(q, q, "float32") - 2 * dot(p, q, mode)).double()


def dot(p: Tensor, q: Tensor, mode: str) -> Tensor:
    """The products of the rows, in float32."""
    if mode != "three":
        return (rounded(p, BITS[mode]) * rounded(q, BITS[mode])).sum(1).float()
    high_p, high_q = rounded(p, 11), rounded(q, 11)
    low_p, low_q = rounded(p - high_p, 11), rounded(q - high_q, 11)
    return (high_p * high_q + high_p * low_q + low_p * high_q).sum(1).float()


def rounded(values: Tensor, bits: int) -> Tensor:
    """To that many bits of significand, a tie to even; in float64."""
    fraction, exponent = torch.frexp(values.double())
    return torch.ldexp((fraction * 2.0**bits).round(), exponent - bits)


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
