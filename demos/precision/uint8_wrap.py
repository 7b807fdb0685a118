"""Arithmetic on uint8 wraps modulo 256 without a warning: a darker pixel less a brighter one is a large number.

Two images of `size` × `size` pixels: the first `value` + `noise`·N(0, 1), the second the same moved by `moved`, plus
as much fresh noise, rounded and limited to 0 … 255. In uint8 and exactly: mean absolute difference (in uint8 the
difference after the wrap), mean squared difference (in uint8 the square wraps too; below 16 it comes out right), and
brightening the first by `moved` (exact: limited to 0 … 255). wrapped: fraction of pixels whose difference is negative
and wraps; brighter_wrapped: fraction whose sum does. Rows: moves from −100 to 100. Random: noise.
Source: the NumPy and PyTorch manuals (integer overflow).
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "uint8 的回绕", "en": "Wrap-around in uint8"}
PARAMS = {
    "value": {"zh": "像素的均值", "en": "mean of the pixels", "ge": 0, "le": 255},
    "moved": {"zh": "第二张图的偏移", "en": "shift of the second image", "ge": -255, "le": 255},
    "noise": {"zh": "噪声的标准差", "en": "standard deviation of the noise", "ge": 0, "le": 100},
    "size": {"zh": "边长", "en": "side", "ge": 1, "le": 256},
}
COLUMNS = {
    "moved": {"zh": "第二张图的偏移", "en": "shift of the second image"},
    "uint8": {"zh": "平均绝对差：uint8", "en": "mean absolute difference: uint8"},
    "float32": {"zh": "平均绝对差：float32", "en": "mean absolute difference: float32"},
}
METRICS = {
    "wrapped": {"zh": "差回绕的像素比例", "en": "fraction of differences that wrap"},
    "brighter_wrapped": {"zh": "加亮后回绕的像素比例", "en": "fraction of sums that wrap"},
    "mad_uint8": {"zh": "平均绝对差，uint8", "en": "mean absolute difference, uint8"},
    "mad": {"zh": "平均绝对差，float32", "en": "mean absolute difference, float32"},
    "mse_uint8": {"zh": "均方差，uint8", "en": "mean squared difference, uint8"},
    "mse": {"zh": "均方差，float32", "en": "mean squared difference, float32"},
    "brighter_uint8": {"zh": "加亮后的均值，uint8", "en": "mean after brightening, uint8"},
    "brighter": {"zh": "加亮后的均值，截断到 255", "en": "mean after brightening, limited to 255"},
}
CHART = {
    "transform": [{"fold": ["uint8", "float32"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "moved", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(value: float = 100.0, moved: int = 5, noise: float = 3.0, size: int = 64) -> Generator[Row, None, Metrics]:
    base, fresh = (noise * torch.randn(size, size) for _ in range(2))
    a = image(value + base)
    for shift in range(-100, 101, 10):
        b = image(value + base + shift + fresh)
        yield {"moved": shift, "uint8": mean(a - b), "float32": mean((a.float() - b.float()).abs())}
    b = image(value + base + moved + fresh)
    difference, brighter = a.int() - b.int(), a.int() + moved
    return {
        "wrapped": (difference < 0).double().mean().item(),
        "brighter_wrapped": ((brighter < 0) | (brighter > 255)).double().mean().item(),
        "mad_uint8": mean(a - b),
        "mad": mean(difference.abs()),
        "mse_uint8": mean((a - b) * (a - b)),
        "mse": mean(difference.square()),
        "brighter_uint8": mean(a + torch.tensor(moved % 256, dtype=torch.uint8)),
        "brighter": mean(brighter.clamp(0, 255)),
    }


def image(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def mean(x: Tensor) -> float:
    return float(x.double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
