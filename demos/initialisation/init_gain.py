"""Which initialisation is best depends on the activation: Kaiming for deep ReLU nets, and for tanh it depends on depth.

One random network without biases, h ← φ(W h), `layers` square matrices of `width` units, fed with `batch` inputs
N(0,1). The same matrices are scaled in three ways: Xavier Var(W) = 1/n, Kaiming Var(W) = 2/n, and a fixed standard
deviation of 0.01. `gain` is the factor by which a layer multiplies the second moment E[h²], `grad_rate` the factor by
which the gradient's norm changes per layer on its way back, starting from noise N(0,1) at the last layer; both are
geometric means over the layers. Everything is in float64, so that the rates are seen and not the limits of a format.

Theory (mean field, infinite width, at the same depth): q = σ_w² E[h²], then E[h²] = E[φ(√q z)²] and the gradient
changes by √χ, χ = σ_w² E[φ'(√q z)²], z ~ N(0,1). For ReLU the gain is σ_w²/2 and the gradient's rate σ_w/√2.
Source: Glorot & Bengio 2010; He et al. 2015; Schoenholz et al. 2017, Deep information propagation.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "Xavier、Kaiming 与固定 0.01", "en": "Xavier, Kaiming and a fixed 0.01"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 200},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 1, "le": 512},
    "batch": {"zh": "样本数", "en": "samples", "ge": 1, "le": 128},
    "act": {"zh": "激活函数", "en": "activation"},
}
LIMITS = [{"product": ["layers", "width", "width"], "le": 14000000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "初始化", "en": "initialisation"},
    "second_moment": {"zh": "输出的二阶矩", "en": "second moment of the output"},
    "gradient": {"zh": "梯度范数（末层为 1）", "en": "gradient norm (1 at the last layer)"},
}
METRICS = {
    "xavier_gain": {"zh": "Xavier：二阶矩每层的倍数", "en": "Xavier: second-moment gain per layer"},
    "xavier_theory_gain": {"zh": "Xavier：每层倍数的理论值", "en": "Xavier: gain in theory"},
    "xavier_grad_rate": {"zh": "Xavier：梯度每层的倍数", "en": "Xavier: gradient rate per layer"},
    "xavier_theory_rate": {"zh": "Xavier：梯度倍数的理论值", "en": "Xavier: gradient rate in theory"},
    "xavier_out_rms": {"zh": "Xavier：末层输出的均方根", "en": "Xavier: rms of the last output"},
    "xavier_abs_log_gain": {"zh": "Xavier：|ln 二阶矩倍数|", "en": "Xavier: |ln gain|"},
    "xavier_abs_log_rate": {"zh": "Xavier：|ln 梯度倍数|", "en": "Xavier: |ln gradient rate|"},
    "kaiming_gain": {"zh": "Kaiming：二阶矩每层的倍数", "en": "Kaiming: second-moment gain per layer"},
    "kaiming_theory_gain": {"zh": "Kaiming：每层倍数的理论值", "en": "Kaiming: gain in theory"},
    "kaiming_grad_rate": {"zh": "Kaiming：梯度每层的倍数", "en": "Kaiming: gradient rate per layer"},
    "kaiming_theory_rate": {"zh": "Kaiming：梯度倍数的理论值", "en": "Kaiming: gradient rate in theory"},
    "kaiming_out_rms": {"zh": "Kaiming：末层输出的均方根", "en": "Kaiming: rms of the last output"},
    "kaiming_abs_log_gain": {"zh": "Kaiming：|ln 二阶矩倍数|", "en": "Kaiming: |ln gain|"},
    "kaiming_abs_log_rate": {"zh": "Kaiming：|ln 梯度倍数|", "en": "Kaiming: |ln gradient rate|"},
    "small_gain": {"zh": "0.01：二阶矩每层的倍数", "en": "0.01: second-moment gain per layer"},
    "small_theory_gain": {"zh": "0.01：每层倍数的理论值", "en": "0.01: gain in theory"},
    "small_grad_rate": {"zh": "0.01：梯度每层的倍数", "en": "0.01: gradient rate per layer"},
    "small_theory_rate": {"zh": "0.01：梯度倍数的理论值", "en": "0.01: gradient rate in theory"},
    "small_out_rms": {"zh": "0.01：末层输出的均方根", "en": "0.01: rms of the last output"},
    "small_abs_log_gain": {"zh": "0.01：|ln 二阶矩倍数|", "en": "0.01: |ln gain|"},
    "small_abs_log_rate": {"zh": "0.01：|ln 梯度倍数|", "en": "0.01: |ln gradient rate|"},
    "kaiming_closer_by": {
        "zh": "Kaiming 的梯度倍数比 Xavier 更接近 1 多少（|ln| 之差）",
        "en": "how much nearer to 1 Kaiming's gradient rate is than Xavier's (difference of |ln|)",
    },
    "theory_log_error": {
        "zh": "梯度倍数与理论的最大差 |ln|（Xavier、Kaiming）",
        "en": "largest |ln| of a gradient rate over theory (Xavier, Kaiming)",
    },
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "gradient", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float]
ACTS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": torch.nn.functional.gelu,
    "selu": torch.selu,
    "identity": torch.clone,
}


def run(
    layers: int = 20,
    width: int = 256,
    batch: int = 64,
    act: Literal["relu", "tanh", "sigmoid", "gelu", "selu", "identity"] = "relu",
) -> Generator[Row, None, Metrics]:
    inputs = torch.randn(batch, width).double()
    matrices = torch.randn(layers, width, width).double()
    noise = torch.randn(batch, width).double()
    measured: Metrics = {}
    for name, series, std in (
        ("xavier", "Xavier", width**-0.5),
        ("kaiming", "Kaiming", (2 / width) ** 0.5),
        ("small", "0.01", 0.01),
    ):
        moments, gradients = forward_and_back(inputs, noise, matrices, std, act)
        for layer in (*range(0, layers, -(-layers // 120)), layers):
            gradient = gradients[layer] / gradients[-1]
            yield {"layer": layer, "series": series, "second_moment": moments[layer], "gradient": gradient}
        gain = (moments[-1] / moments[0]) ** (1 / layers)
        rate = (gradients[0] / gradients[-1]) ** (1 / layers)
        theory_gain, theory_rate = in_theory(std * width**0.5, layers, act)
        measured |= {
            f"{name}_gain": gain,
            f"{name}_theory_gain": theory_gain,
            f"{name}_grad_rate": rate,
            f"{name}_theory_rate": theory_rate,
            f"{name}_out_rms": math.sqrt(moments[-1]),
            f"{name}_abs_log_gain": abs_log(gain),
            f"{name}_abs_log_rate": abs_log(rate),
        }
    two = ("xavier", "kaiming")
    return measured | {
        "kaiming_closer_by": measured["xavier_abs_log_rate"] - measured["kaiming_abs_log_rate"],
        "theory_log_error": max(abs_log(measured[f"{one}_grad_rate"] / measured[f"{one}_theory_rate"]) for one in two),
    }


def forward_and_back(
    inputs: Tensor, noise: Tensor, matrices: Tensor, std: float, act: str
) -> tuple[list[float], list[float]]:
    """E[h²] and the gradient's norm at the input and after every layer."""
    outputs = [inputs.requires_grad_()]
    for matrix in matrices:
        outputs.append(ACTS[act](std * (outputs[-1] @ matrix)))
    gradients = torch.autograd.grad(outputs[-1], outputs, noise)
    return [h.pow(2).mean().item() for h in outputs], [g.norm().item() for g in gradients]


def in_theory(sigma_w: float, layers: int, act: str) -> tuple[float, float]:
    """Gain and gradient rate per layer of an infinitely wide network of the same depth."""
    z = torch.linspace(-8, 8, 1600, dtype=torch.float64)  # an even number of points: none lies on ReLU's kink
    weight = torch.softmax(-(z**2) / 2, 0)
    q, log_gain, log_chi = sigma_w**2, 0.0, 0.0
    for _ in range(layers):
        u = (math.sqrt(q) * z).requires_grad_()
        output = ACTS[act](u)
        (slope,) = torch.autograd.grad(output.sum(), u)
        moment = (weight * output.detach() ** 2).sum().item()
        log_gain += math.log(sigma_w**2 * moment / q)
        log_chi += math.log(sigma_w**2 * (weight * slope**2).sum().item())
        q = max(sigma_w**2 * moment, 1e-250)  # so small that every activation is linear there: the ratio stays right
    return math.exp(log_gain / layers), math.exp(log_chi / 2 / layers)


def abs_log(ratio: float) -> float:
    """|ln ratio|: how far from 1 a factor is, in either direction."""
    return abs(math.log(ratio)) if ratio else math.inf


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
