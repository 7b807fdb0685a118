"""Activations beyond 65504 blacken the image in float16, and .float() inside autocast does not prevent it.

The end of an image decoder: `n` pixels with 32 channels, h ~ N(0, 1); hidden = relu(h·A)·√x; y = hidden·(B·√x); y is
divided by its root mean square over the whole image (a group norm with one group, in float32); 3 colours
tanh(y·C), stored as whole numbers 0 … 255. A is 32 × 128 with N(0, 2/32), B 128 × 32 with N(0, 1/64), C N(0, 1/32).
The norm cancels `x`: in exact arithmetic the image does not depend on it. y is of size x. By `way`:

float32          all in float32
float16          weights and products in float16: y beyond 65504 is inf, its mean square too, inf/inf is nan, and nan
                 stored as a whole number from 0 to 255 is 0, black. A pixel without any inf becomes 0/inf, grey
bfloat16         the same in bfloat16, which reaches 3.4e38
autocast_float   weights in float32, torch.autocast for float16, and the factors of y written hidden.float(), B.float():
                 autocast casts the arguments of every product again, so it is a float16 product all the same
autocast_off     the same product within torch.autocast(enabled=False)
rescaled         float16, B divided by 2¹⁰ beforehand, a power of two, which the norm cancels without rounding

Exact: the same in float64. Random: h, A, B, C. Source: Kalamkar et al. 2019, A study of BFLOAT16.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "float16 解码器与黑图", "en": "A decoder in float16 and black images"}
PARAMS = {
    "way": {"zh": "怎么算", "en": "how it is computed"},
    "x": {"zh": "中间激活值的大小", "en": "size of the activations", "ge": 1e-3, "le": 1e12},
    "n": {"zh": "像素数", "en": "pixels", "ge": 1, "le": 1024},
}
COLUMNS = {
    "pixel": {"zh": "第几个像素", "en": "pixel"},
    "image": {"zh": "得到的亮度", "en": "brightness in the image"},
    "exact": {"zh": "准确的亮度", "en": "exact brightness"},
}
METRICS = {
    "largest": {"zh": "最大的激活值（准确）", "en": "largest activation (exact)"},
    "inf_share": {"zh": "激活值是 inf 的比例", "en": "fraction of inf activations"},
    "nan_share": {"zh": "是 nan 的颜色值比例", "en": "fraction of nan colours"},
    "black_share": {"zh": "全黑像素的比例", "en": "fraction of black pixels"},
    "error": {"zh": "亮度的平均误差（0–255）", "en": "mean error of the brightness, 0–255"},
    "bits": {"zh": "乘积的位数", "en": "bits of the product"},
    "theory_limit": {"zh": "float16 的最大值", "en": "largest number of float16"},
}
CHART = {
    "transform": [{"fold": ["image", "exact"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "pixel", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    way: Literal["float32", "float16", "bfloat16", "autocast_float", "autocast_off", "rescaled"] = "float16",
    x: float = 1e5,
    n: int = 64,
) -> Generator[Row, None, Metrics]:
    h, a, b, c = torch.randn(n, 32), torch.randn(32, 128), torch.randn(128, 32), torch.randn(32, 3)
    a, b, c = a * (2 / 32) ** 0.5, b * (1 / 64) ** 0.5, c * (1 / 32) ** 0.5
    weights = (a * x**0.5, b * x**0.5, c)
    exact_y = product("float32", *(w.double() for w in (h, *weights[:2])))
    exact = colours(exact_y, weights[2].double())
    form = {"float16": torch.float16, "rescaled": torch.float16, "bfloat16": torch.bfloat16}.get(way, torch.float32)
    shrunk = weights[1] / 1024 if way == "rescaled" else weights[1]
    y = product(way, *(w.to(form) for w in (h, weights[0], shrunk)))
    computed = colours(y.float(), weights[2])
    image, true = stored(computed), stored(exact)
    for pixel in range(n):
        yield {"pixel": pixel, "image": image[pixel].mean().item(), "exact": true[pixel].mean().item()}
    return {
        "largest": exact_y.abs().max().item(),
        "inf_share": y.isinf().double().mean().item(),
        "nan_share": computed.isnan().double().mean().item(),
        "black_share": (image == 0).all(1).double().mean().item(),
        "error": (image - true).abs().mean().item(),
        "bits": 8 * y.element_size(),
        "theory_limit": torch.finfo(torch.float16).max,
    }


def product(way: str, h: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The activations y before the norm, pixels × 32."""
    with torch.autocast("cpu", dtype=torch.float16, enabled=way.startswith("autocast")):
        hidden = (h @ a).relu()
        if way == "autocast_off":
            with torch.autocast("cpu", enabled=False):
                return hidden.float() @ b.float()
        if way == "autocast_float":
            return hidden.float() @ b.float()
        return hidden @ b


def colours(y: Tensor, c: Tensor) -> Tensor:
    """Tanh of the three colours, pixels × 3, after the norm over the whole image."""
    return ((y / y.square().mean().sqrt()) @ c).tanh()


def stored(colour: Tensor) -> Tensor:
    """As whole numbers from 0 to 255; nan becomes 0."""
    return ((colour.double() + 1) / 2 * 255).round().nan_to_num(0)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
