"""Twenty orthogonal matrices in a row distort nothing; twenty Gaussian ones of the same variance flatten almost all.

J = W_L···W_1, `layers` square matrices of `width` n, entries of variance 1/n: orthogonal ones (QR of a Gaussian matrix,
signs by the diagonal of R) and independent N(0, 1/n). With act = relu or tanh, J is the Jacobian of h ← φ(W h) at one
input N(0, 1), with W of twice the variance for ReLU. The condition number is the largest singular value of J over the
smallest; the even fraction is (Σσ²)²/(n·Σσ⁴): 1 if J stretches all directions alike, 1/n if it keeps but one. float64.

So that the smallest singular value is not lost in rounding, for the linear nets it is one over the largest of
J⁻¹ = W_1⁻¹···W_L⁻¹, multiplied out on its own. With ReLU a layer with a dead unit has a singular Jacobian: its
condition number is inf, whatever the weights. Theory for Gaussian matrices (Newman 1986): each adds on average
[ψ(n/2) − ψ(1/2)]/2 to ln of the condition number; orthogonal ones add 0.
Source: Saxe, McClelland & Ganguli 2014, Exact solutions to the nonlinear dynamics of learning in deep linear networks.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "正交与高斯：许多层的条件数", "en": "Orthogonal and Gaussian: the condition number of many layers"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 200},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 2, "le": 256},
    "act": {"zh": "激活函数", "en": "activation"},
}
LIMITS = [{"product": ["layers", "width", "width"], "le": 1400000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "权重", "en": "weights"},
    "log10_condition": {"zh": "条件数的 log10", "en": "log10 of the condition number"},
    "even_share": {"zh": "方向被同等对待的程度", "en": "how evenly directions are stretched"},
}
METRICS = {
    "orthogonal_log10_condition": {"zh": "正交：条件数的 log10", "en": "orthogonal: log10 of the condition number"},
    "gaussian_log10_condition": {"zh": "高斯：条件数的 log10", "en": "Gaussian: log10 of the condition number"},
    "theory_log10_condition": {"zh": "高斯：条件数 log10 的理论值", "en": "Gaussian: that log10 in theory"},
    "orthogonal_even_share": {
        "zh": "正交：方向被同等对待的程度",
        "en": "orthogonal: how evenly directions are stretched",
    },
    "gaussian_even_share": {"zh": "高斯：方向被同等对待的程度", "en": "Gaussian: how evenly directions are stretched"},
    "even_share_ratio": {"zh": "同等程度：正交是高斯的几倍", "en": "evenness: orthogonal over Gaussian"},
}
WORDS = {
    "orthogonal": {"zh": "正交", "en": "orthogonal"},
    "gaussian": {"zh": "高斯", "en": "Gaussian"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "log10_condition", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]


def run(
    layers: int = 20, width: int = 64, act: Literal["identity", "relu", "tanh"] = "identity"
) -> Generator[Row, None, Metrics]:
    x = torch.randn(width).double()
    every = -(-layers // 40)
    measured: Metrics = {"theory_log10_condition": theory(width) * layers if act == "identity" else None}
    shares: list[float] = []
    for series in ("orthogonal", "gaussian"):
        h, jacobian, inverse = x, torch.eye(width).double(), torch.eye(width).double()
        scale, singular = 0.0, False
        for layer in range(1, layers + 1):
            w = matrix(series, width) * math.sqrt((2 if act == "relu" else 1) / width)
            z = w @ h
            h = z if act == "identity" else getattr(torch, act)(z)
            step = slope(z, act)[:, None] * w
            jacobian, grown = rescaled(step @ jacobian)
            singular = singular or bool((slope(z, act) == 0).any())
            if not singular:
                inverse, shrunk = rescaled(inverse @ torch.linalg.inv(step))
                scale += grown + shrunk
            if layer % every == 0 or layer == layers:
                values = torch.linalg.svdvals(jacobian)
                largest = torch.linalg.matrix_norm(inverse, 2).item() * values[0].item()
                condition = math.inf if singular else scale + math.log10(largest)
                fourth = float(values.pow(4).sum())
                share = float(values.pow(2).sum()) ** 2 / fourth / width if fourth else math.nan
                yield {"layer": layer, "series": series, "log10_condition": condition, "even_share": share}
        measured |= {f"{series}_log10_condition": condition, f"{series}_even_share": share}
        shares.append(share)
    return measured | {"even_share_ratio": shares[0] / shares[1] if shares[1] else math.nan}


def matrix(series: str, n: int) -> Tensor:
    """n×n with entries of mean square 1."""
    gaussian = torch.randn(n, n).double()
    if series == "gaussian":
        return gaussian
    q, r = torch.linalg.qr(gaussian)
    return math.sqrt(n) * q * r.diagonal().sign()


def slope(z: Tensor, act: str) -> Tensor:
    """φ'(z)."""
    return {"relu": (z > 0).double(), "tanh": 1 - torch.tanh(z) ** 2}.get(act, torch.ones_like(z))


def rescaled(product: Tensor) -> tuple[Tensor, float]:
    """The matrix with norm 1, and log10 of what it was divided by."""
    size = float(product.norm())
    return (product / size, math.log10(size)) if size else (product, 0.0)


def theory(n: int) -> float:
    """What a Gaussian matrix adds to log10 of the condition number of a long product."""
    half = torch.tensor([n / 2, 0.5], dtype=torch.float64)
    top, bottom = torch.digamma(half).tolist()
    return float(top - bottom) / 2 / math.log(10)


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
