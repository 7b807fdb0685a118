"""Batch normalisation fixes the variance of the activations, yet lets the gradient explode with depth.

A fully connected net at initialisation: h ← φ(BN(h W)), W_ij ~ N(0, sigma_w²/width), no bias, γ = 1, β = 0, inputs
N(0, 1); with `residual` h ← h + φ(BN(h W)). Beside it the same weights without BN, h ← φ(h W). A random cotangent
N(0, 1), independent for every sample, is sent back through both: BN's backward pass removes what the samples of a
batch have in common, so the gradient of a plain sum of outputs would measure something else. The rate is the growth of
the squared gradient norm per layer, from layer 0.8·layers down to layer 2; layer 1 is special, its input is no
activation. Variances are over the batch, averaged over the units; norms and variances are taken in float64.

In a wide net and a large batch the rate is E[φ′(z)²] / Var[φ(z)], z ~ N(0, 1), whatever sigma_w is; for ReLU that is
π/(π−1) = 1.467. A finite batch raises it: for the linear net to (batch−2)/(batch−3). Without BN, ReLU with
sigma_w = √2 (He) keeps it at 1. With two samples BN turns every unit into ±1 and the gradient hangs on near ties, so
no BN gradient is reported.
Source: Yang et al. 2019, A mean field theory of batch normalization; Luther 2020, Why batch norm causes exploding
gradients.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

TITLE = {"zh": "批量归一化：方差固定，梯度爆炸", "en": "Batch normalisation: fixed variance, exploding gradient"}
PARAMS = {
    "layers": {"zh": "层数", "en": "number of layers", "ge": 1, "le": 500},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 1, "le": 256},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 2, "le": 512},
    "act": {"zh": "激活函数", "en": "activation"},
    "residual": {"zh": "残差连接", "en": "residual connections"},
    "sigma_w": {"zh": "权重的尺度（标准差 × √宽度）", "en": "weight scale (std × √width)", "ge": 0.01, "le": 100.0},
}
LIMITS = [{"product": ["layers", "width", "batch"], "le": 10000000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "bn_gradient": {"zh": "梯度范数之比，有 BN", "en": "gradient norm ratio, BN"},
    "nobn_gradient": {"zh": "梯度范数之比，无 BN", "en": "gradient norm ratio, no BN"},
    "theory": {"zh": "BN 的理论值", "en": "theory for BN"},
    "bn_variance": {"zh": "激活方差，有 BN", "en": "activation variance, BN"},
    "nobn_variance": {"zh": "激活方差，无 BN", "en": "activation variance, no BN"},
}
METRICS = {
    "sq_grad_rate_bn": {"zh": "有 BN：梯度平方每层放大", "en": "BN: growth of the squared gradient per layer"},
    "theory_sq_grad_rate": {"zh": "有 BN：理论值", "en": "BN: growth in theory"},
    "sq_grad_rate_error": {"zh": "实测与理论的相对偏差", "en": "relative deviation from theory"},
    "sq_grad_rate_nobn": {"zh": "无 BN：梯度平方每层放大", "en": "no BN: growth of the squared gradient per layer"},
    "total_ratio_bn": {"zh": "有 BN：第一层与最后一层梯度范数之比", "en": "BN: gradient norm, first over last layer"},
    "total_ratio_nobn": {"zh": "无 BN：第一层与最后一层梯度范数之比", "en": "no BN: gradient norm, first over last"},
    "total_ratio_nobn_abs_log10": {"zh": "无 BN：该比值偏离 1 的数量级", "en": "no BN: orders of magnitude off 1"},
    "act_var_first": {"zh": "有 BN：第一层激活方差", "en": "BN: activation variance, first layer"},
    "act_var_last": {"zh": "有 BN：最后一层激活方差", "en": "BN: activation variance, last layer"},
    "act_var_drift": {"zh": "有 BN：首末层方差的相对差", "en": "BN: relative change of the variance, first to last"},
}
CHART = {
    "transform": [{"fold": ["bn_gradient", "nobn_gradient", "theory"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "linear": lambda z: z,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def run(
    layers: int = 50,
    width: int = 128,
    batch: int = 128,
    act: Literal["relu", "linear", "tanh", "sigmoid"] = "relu",
    residual: bool = False,
    sigma_w: float = 1.4142,
) -> Generator[Row, None, Metrics]:
    inputs, cotangent = torch.randn(batch, width), torch.randn(batch, width)
    weights = [torch.randn(width, width) * (sigma_w / math.sqrt(width)) for _ in range(layers)]
    bn_gradient, bn_variance = there_and_back(inputs, cotangent, weights, ACTIVATIONS[act], True, residual)
    gradient, variance = there_and_back(inputs, cotangent, weights, ACTIVATIONS[act], False, residual)

    theory = None if residual else rate_in_theory(ACTIVATIONS[act], act, batch)
    every = max(1, layers // 200)
    for layer in range(0, layers + 1, every):
        row = {"layer": layer, "bn_gradient": bn_gradient[layer], "nobn_gradient": gradient[layer]}
        if theory is not None:
            row["theory"] = theory ** ((layers - layer) / 2)
        yield row | {"bn_variance": bn_variance[layer], "nobn_variance": variance[layer]}

    tied = batch == 2
    bn_rate = None if tied else rate(bn_gradient)
    return {
        "sq_grad_rate_bn": bn_rate,
        "theory_sq_grad_rate": theory,
        "sq_grad_rate_error": None if bn_rate is None or theory is None else abs(bn_rate / theory - 1),
        "sq_grad_rate_nobn": rate(gradient),
        "total_ratio_bn": None if tied else bn_gradient[0],
        "total_ratio_nobn": gradient[0],
        "total_ratio_nobn_abs_log10": abs(math.log10(gradient[0])) if gradient[0] else math.inf,
        "act_var_first": bn_variance[1],
        "act_var_last": bn_variance[layers],
        "act_var_drift": abs(quotient(bn_variance[layers], bn_variance[1]) - 1),
    }


def there_and_back(
    inputs: Tensor, cotangent: Tensor, weights: list[Tensor], phi: Activation, norm: bool, residual: bool
) -> tuple[list[float], list[float]]:
    """Gradient norms at h_0 … h_L over the norm at h_L, and the variances of h_0 … h_L."""
    hidden = [inputs.clone().requires_grad_()]
    for weight in weights:
        z = hidden[-1] @ weight
        branch = phi(batch_norm(z, None, None, training=True) if norm else z)
        hidden.append(hidden[-1] + branch if residual else branch)
    gradients = torch.autograd.grad(hidden[-1], hidden, cotangent)
    norms = [float(g.double().norm()) for g in gradients]
    variances = [float(h.detach().double().var(0, correction=0).mean()) for h in hidden]
    return [norm / norms[-1] for norm in norms], variances


def rate(ratios: list[float]) -> float | None:
    """Growth of the squared gradient norm per layer from layer 0.8·L down to layer 2; None if there is no such span."""
    last = round(0.8 * (len(ratios) - 1))
    return quotient(ratios[2], ratios[last]) ** (2 / (last - 2)) if last > 2 else None


def rate_in_theory(phi: Activation, act: str, batch: int) -> float | None:
    """E[φ′²]/Var[φ] under N(0, 1), integrated on a grid; the finite-batch value for the linear net."""
    if batch <= 3:
        return None
    if act == "linear":
        return (batch - 2) / (batch - 3)
    z = torch.linspace(-12, 12, 40000, dtype=torch.float64, requires_grad=True)
    weight = torch.softmax(-(z.detach() ** 2) / 2, 0)
    value = phi(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    value = value.detach()
    variance = (weight * value**2).sum() - (weight * value).sum() ** 2
    return float((weight * slope**2).sum() / variance)


def quotient(a: float, b: float) -> float:
    """a/b as IEEE 754 has it: 1/0 is inf and 0/0 is nan."""
    return a / b if b else a * math.inf


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
