"""Student t likelihood: with many degrees of freedom two large lgammas cancel in float32, with 0 they are inf − inf.

Negative log-likelihood of a residual `r` at scale 1 and ν = `nu` degrees of freedom,

lgamma(ν/2) − lgamma((ν + 1)/2) + ½·log(νπ) + (ν + 1)/2·log(1 + r²/ν),

three ways, each with its derivative with respect to ν by autograd:

naive   as it stands, in float32
log1p   log1p(r²/ν) for the last logarithm, in float32
wide    the same in float64, rounded to float32 at the end

error: distance from the reference, which has the asymptotic series of the difference of the lgammas from ν = 1000 on
(its error is below 1e-17 there) and float64 below. Theory: lgamma(x) is about x·ln x, so its rounding error grows in
proportion to ν: 2⁻²⁴·(ν/2)·ln(ν/2) each. For large ν the likelihood is that of a Gaussian, ½·log 2π + ½r². Rows: ν from
0.01 to 1e8. Nothing is random. Source: Higham 2002, Accuracy and Stability of Numerical Algorithms (cancellation).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "学生 t 似然：自由度很大或为 0", "en": "Student t likelihood: many degrees of freedom, or none"}
PARAMS = {
    "nu": {"zh": "自由度 ν", "en": "degrees of freedom ν", "ge": 0, "le": 1e9},
    "r": {"zh": "残差", "en": "residual", "ge": -1e6, "le": 1e6},
}
COLUMNS = {
    "nu": {"zh": "自由度", "en": "degrees of freedom"},
    "naive": {"zh": "误差：朴素实现", "en": "error: naive"},
    "log1p": {"zh": "误差：log1p", "en": "error: log1p"},
    "wide": {"zh": "误差：float64", "en": "error: float64"},
}
METRICS = {
    "naive": {"zh": "损失，朴素实现", "en": "loss, naive"},
    "log1p": {"zh": "损失，log1p", "en": "loss, log1p"},
    "wide": {"zh": "损失，float64", "en": "loss, float64"},
    "exact": {"zh": "损失，精确值", "en": "loss, exact"},
    "naive_error": {"zh": "误差，朴素实现", "en": "error, naive"},
    "log1p_error": {"zh": "误差，log1p", "en": "error, log1p"},
    "wide_error": {"zh": "误差，float64", "en": "error, float64"},
    "slope_single": {"zh": "对 ν 的导数，float32", "en": "derivative with respect to ν, float32"},
    "slope_wide": {"zh": "对 ν 的导数，float64", "en": "derivative with respect to ν, float64"},
    "gaussian": {"zh": "高斯似然的损失", "en": "loss of a Gaussian"},
    "theory_error": {"zh": "两个 lgamma 的舍入误差，理论值", "en": "rounding error of the two lgammas in theory"},
}
CHART = {
    "transform": [{"fold": ["naive", "log1p", "wide"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "nu", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(nu: float = 1e6, r: float = 1.0) -> Generator[Row, None, Metrics]:
    for k in range(-4, 17):
        freedom = 10 ** (k / 2)
        yield {"nu": freedom} | {
            name: abs(loss_and_slope(name, freedom, r)[0] - reference(freedom, r))
            for name in ("naive", "log1p", "wide")
        }
    found = {name: loss_and_slope(name, nu, r) for name in ("naive", "log1p", "wide")}
    exact = reference(nu, r)
    return {
        **{name: loss for name, (loss, _) in found.items()},
        "exact": exact,
        **{f"{name}_error": abs(loss - exact) for name, (loss, _) in found.items()},
        "slope_single": found["log1p"][1],
        "slope_wide": found["wide"][1],
        "gaussian": math.log(2 * math.pi) / 2 + r * r / 2,
        "theory_error": 2.0**-23 * (nu / 2) * max(math.log(nu / 2), 0.0) if nu else 0.0,
    }


def loss_and_slope(way: str, nu: float, r: float) -> tuple[float, float]:
    """The loss, rounded to float32, and its derivative with respect to ν."""
    freedom = torch.tensor(nu, dtype=torch.float64 if way == "wide" else torch.float32, requires_grad=True)
    loss = likelihood(freedom, torch.tensor(r, dtype=freedom.dtype), log_of_sum=way == "naive")
    (slope,) = torch.autograd.grad(loss, freedom)
    return loss.float().item(), slope.item()


def likelihood(nu: Tensor, r: Tensor, *, log_of_sum: bool) -> Tensor:
    """The negative log-likelihood in the format of ν; the last logarithm as log(1 + …), or by log1p."""
    ratio = r * r / nu
    tail = torch.log(1 + ratio) if log_of_sum else torch.log1p(ratio)
    normaliser = torch.lgamma(nu / 2) - torch.lgamma((nu + 1) / 2) + torch.log(nu * math.pi) / 2
    return normaliser + (nu + 1) / 2 * tail


def reference(nu: float, r: float) -> float:
    """The loss in float64; nan for ν = 0."""
    if nu == 0:
        return math.nan
    if nu < 1000:
        difference = math.lgamma(nu / 2) - math.lgamma((nu + 1) / 2)
    else:
        difference = -math.log(nu / 2) / 2 + 1 / (4 * nu) - 1 / (24 * nu**3) + 1 / (20 * nu**5)
    return difference + math.log(nu * math.pi) / 2 + (nu + 1) / 2 * math.log1p(r * r / nu)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
