"""Two devices never agree to the last bit; a fault shows in a difference far above rounding that float64 does not cure.

64 dot products of `n` pairs a, b ~ N(0, 1), computed in float32 by two devices. Device A adds the products from the
first to the last. Device B differs in one thing, `case`. order: it adds them from the last to the first. atomic: in an
order drawn anew in each run, as atomic additions arrive. tf32: it rounds a and b to 10 bits first, as TF32 tensor cores
do. wrong_kernel: it forgets the last product. bit_flip: in each run one product of one dot product, drawn anew, has
an exponent bit flipped (65536 times too large), as on a bad card.

Measured: the rms of B − A in units of what rounding predicts, 2⁻²⁴·n·σ/√3 for float32 and 2⁻¹¹·σ·√(2n/3) for inputs
rounded to 10 bits, σ being the rms of the products; whether a second run of B gives other bits; and how the difference
changes when both devices compute in float64 (where B rounds no input): rounding shrinks a billionfold, a fault stays.
Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, ch. 4; IEEE 754-2019.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "两台设备结果不同：舍入还是故障", "en": "Two devices disagree: rounding or a fault"}
PARAMS = {
    "case": {"zh": "设备 B 哪里不同", "en": "what is different on device B"},
    "n": {"zh": "点积的长度", "en": "length of the dot products", "ge": 2, "le": 8192},
}
COLUMNS = {
    "row": {"zh": "第几个点积", "en": "dot product"},
    "float32": {"zh": "float32 下的差", "en": "difference in float32"},
    "float64": {"zh": "float64 下的差", "en": "difference in float64"},
}
METRICS = {
    "difference": {"zh": "两台设备之差（均方根）", "en": "difference of the devices, rms"},
    "over_rounding": {"zh": "是 float32 舍入预期的几倍", "en": "times what float32 rounding predicts"},
    "over_tf32": {"zh": "是 TF32 舍入预期的几倍", "en": "times what TF32 rounding predicts"},
    "float64_ratio": {"zh": "float64 下的差与 float32 下之比", "en": "difference in float64 over that in float32"},
    "repeat_differs": {"zh": "设备 B 再算一次结果不同", "en": "a second run of device B differs"},
    "theory_rounding": {"zh": "float32 舍入预期的差", "en": "difference that float32 rounding predicts"},
    "theory_tf32": {"zh": "TF32 舍入预期的差", "en": "difference that TF32 rounding predicts"},
}
CHART = {
    "transform": [{"fold": ["float32", "float64"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "row", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    case: Literal["order", "atomic", "tf32", "wrong_kernel", "bit_flip"] = "order", n: int = 1024
) -> Generator[Row, None, Metrics]:
    a, b = torch.randn(64, n), torch.randn(64, n)
    first = device_b(a, b, case)
    again = device_b(a, b, case)
    single = first.double() - added(a * b).double()
    double = device_b(a.double(), b.double(), case) - added(a.double() * b.double())
    for row in range(64):
        yield {"row": row, "float32": single[row].abs().item(), "float64": double[row].abs().item()}
    sigma = (a.double() * b.double()).square().mean().sqrt().item()
    rounding, tf32 = 2.0**-24 * n * sigma / 3**0.5, 2.0**-11 * sigma * (2 * n / 3) ** 0.5
    size, wide = rms(single), rms(double)
    return {
        "difference": size,
        "over_rounding": size / rounding,
        "over_tf32": size / tf32,
        "float64_ratio": wide / size if size else 0.0,
        "repeat_differs": float(not torch.equal(first, again)),
        "theory_rounding": rounding,
        "theory_tf32": tf32,
    }


def device_b(a: Tensor, b: Tensor, case: str) -> Tensor:
    """The 64 dot products as device B computes them."""
    if case == "tf32" and a.dtype == torch.float32:
        a, b = to_tf32(a), to_tf32(b)
    products = a * b
    if case == "wrong_kernel":
        products = products[:, :-1]
    elif case == "bit_flip":
        products[torch.randint(64, ()), torch.randint(products.shape[1], ())] *= 65536
    elif case == "order":
        products = products.flip(1)
    elif case == "atomic":
        products = products[:, torch.randperm(products.shape[1])]
    return added(products)


def to_tf32(values: Tensor) -> Tensor:
    """float32 rounded to 10 bits of mantissa, half away from zero."""
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def added(products: Tensor) -> Tensor:
    """Each row summed from its first number to its last, with a rounding after each addition."""
    total = torch.zeros(len(products), dtype=products.dtype)
    for column in products.T:
        total = total + column
    return total


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
