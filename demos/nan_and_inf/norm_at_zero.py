"""Dividing a vector by its norm is nan at the zero vector; an eps stops the nan, but the slope next to zero is 1/eps.

A direction v of 64 entries, `x`·N(0, 1), is used as w = v/‖v‖, as in weight normalisation and cosine similarity; w has
a unit gradient coming in. Forms: v/‖v‖ (plain); √Σv², clamped at eps from below, by hand (root);
torch.nn.functional.normalize, which does the same with a norm whose slope at 0 counts as 0 (library); v/√(‖v‖² + eps²)
(smooth); `form` is the number format of v and of every result, eps = `eps`.

Measured for sizes of v from 1 down to 10⁻²⁰ and 0: the norm of the gradient with respect to v, by autograd, and at `x`
whether output and gradient are finite. Theory: the gradient is the part perpendicular to v over ‖v‖: it grows like
1/‖v‖ and is 0/0 at 0; a root has slope inf there, which a clamp multiplies by 0; the other two have 1/eps. In float16
‖v‖² is 0 below 10⁻⁴ and eps = 10⁻¹² is 0. Random: the direction of v and the incoming gradient.
Source: Salimans & Kingma 2016, Weight normalization.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "零向量除以自己的范数", "en": "The zero vector over its norm"}
PARAMS = {
    "form": {"zh": "格式", "en": "number format"},
    "x": {"zh": "向量元素的大小", "en": "size of the vector's entries", "ge": 0, "le": 100},
    "eps": {"zh": "eps", "en": "eps", "ge": 1e-12, "le": 0.1},
}
COLUMNS = {
    "size": {"zh": "向量元素的大小", "en": "size of the entries"},
    "plain": {"zh": "不加 eps：梯度", "en": "plain: gradient"},
    "root": {"zh": "手写开方再截断：梯度", "en": "root by hand, clamped: gradient"},
    "library": {"zh": "F.normalize：梯度", "en": "F.normalize: gradient"},
    "smooth": {"zh": "平滑：梯度", "en": "smooth: gradient"},
}
METRICS = {
    "plain_bad": {"zh": "不加 eps：非有限", "en": "plain: not finite"},
    "root_bad": {"zh": "手写开方再截断：非有限", "en": "root by hand, clamped: not finite"},
    "library_bad": {"zh": "F.normalize：非有限", "en": "F.normalize: not finite"},
    "smooth_bad": {"zh": "平滑：非有限", "en": "smooth: not finite"},
    "plain_gradient": {"zh": "不加 eps：梯度范数", "en": "plain: gradient norm"},
    "library_gradient": {"zh": "F.normalize：梯度范数", "en": "F.normalize: gradient norm"},
    "smooth_gradient": {"zh": "平滑：梯度范数", "en": "smooth: gradient norm"},
    "library_length": {"zh": "F.normalize：输出的长度", "en": "F.normalize: length of the output"},
}
CHART = {
    "transform": [{"fold": ["plain", "root", "library", "smooth"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
FORMS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WAYS = ["plain", "root", "library", "smooth"]


def run(
    form: Literal["float32", "bfloat16", "float16"] = "float32", x: float = 0.0, eps: float = 1e-12
) -> Generator[Row, None, Metrics]:
    kind = FORMS[form]
    direction, incoming = torch.randn(64), torch.randn(64)
    incoming = incoming / incoming.norm()
    for power in range(21):
        size = 10.0**-power
        yield {"size": size, **{way: measured(direction * size, incoming, way, kind, eps)[1] for way in WAYS}}
    found = {way: measured(direction * x, incoming, way, kind, eps) for way in WAYS}
    return {
        **{f"{way}_bad": float(not all(map(math.isfinite, found[way]))) for way in WAYS},
        **{f"{way}_gradient": found[way][1] for way in ("plain", "library", "smooth")},
        "library_length": found["library"][0],
    }


def measured(v: Tensor, incoming: Tensor, way: str, kind: torch.dtype, eps: float) -> tuple[float, float]:
    """The norms of the output and of the gradient with respect to v."""
    leaf = v.to(kind).requires_grad_()
    output = unit(leaf, way, eps)
    (gradient,) = torch.autograd.grad(output, leaf, incoming.to(kind))
    return float(output.detach().double().norm()), float(gradient.double().norm())


def unit(v: Tensor, way: str, eps: float) -> Tensor:
    """V over its norm, each operation in v's format."""
    if way == "library":
        return torch.nn.functional.normalize(v, dim=0, eps=eps)
    squares = (v * v).sum()
    if way == "smooth":
        return v / (squares + eps * eps).sqrt()
    length = squares.sqrt()
    return v / (length if way == "plain" else length.clamp(min=eps))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
