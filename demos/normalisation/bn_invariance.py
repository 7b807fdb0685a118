"""Before batch normalisation the size of the weights does not matter: 10 times W, a tenth of the gradient.

One layer y = relu(norm(h W + b)), float64, h ~ N(0, 1) of `batch` × `width`, W ~ N(0, 1/width), b ~ N(0, 1); norm is
batch normalisation (batch statistics, γ = 1, β = 0), layer normalisation over the units, or nothing. The loss is the
sum of y times a random N(0, 1) cotangent. Everything is done with W, b and with `scale`·W, `scale`·b. output_change is
the largest change of y over the largest |y|; grad_ratio the norm of the gradient of W at W over that at scale·W:
`scale` if y does not depend on the size (up to eps), 1 if y is proportional to it. A step of gradient descent turns
the weights by an angle of about lr·|gradient|/|W|, so the effective rate falls by scale². radial_share is the cosine
between W and its gradient: 0 where the loss does not depend on the size of W, and then every step makes W longer.
bias_share is the norm of b's gradient over that of W's: 0 after batch normalisation, which subtracts any constant.
Source: van Laarhoven 2017, L2 regularization versus batch and weight normalization (arXiv:1706.05350).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, layer_norm

TITLE = {"zh": "BN 前面的权重大小与偏置", "en": "Size of the weights and bias before BN"}
PARAMS = {
    "norm": {"zh": "归一化", "en": "normalisation"},
    "scale": {"zh": "权重放大的倍数", "en": "factor on the weights", "ge": 1e-6, "le": 1e6},
    "batch": {"zh": "样本数", "en": "samples", "ge": 2, "le": 512},
    "width": {"zh": "单元数", "en": "units", "ge": 2, "le": 256},
    "eps": {"zh": "分母里的 ε", "en": "ε in the denominator", "ge": 0, "le": 1},
}
COLUMNS = {
    "factor": {"zh": "权重放大的倍数", "en": "factor on the weights"},
    "gradient": {"zh": "W 的梯度 / 倍数为 1 时", "en": "gradient of W over that at factor 1"},
    "output": {"zh": "输出 / 倍数为 1 时", "en": "output over that at factor 1"},
    "inverse": {"zh": "1 / 倍数", "en": "1 / factor"},
}
METRICS = {
    "output_change": {"zh": "输出的相对变化", "en": "relative change of the output"},
    "grad_ratio": {"zh": "梯度降为原来的几分之一（倒数）", "en": "factor by which the gradient shrinks"},
    "grad_ratio_error": {"zh": "它与权重倍数的相对偏差", "en": "its relative distance from the factor"},
    "effective_rate_ratio": {
        "zh": "有效学习率降为原来的几分之一（倒数）",
        "en": "factor by which the effective rate falls",
    },
    "radial_share": {"zh": "梯度沿 W 方向的份额", "en": "fraction of the gradient along W"},
    "weight_grad": {"zh": "W 的梯度范数", "en": "gradient norm of W"},
    "bias_grad": {"zh": "b 的梯度范数", "en": "gradient norm of b"},
    "bias_share": {"zh": "b 与 W 的梯度范数之比", "en": "gradient norm of b over that of W"},
    "bias_effect": {"zh": "去掉 b 时输出的相对变化", "en": "relative change of the output without b"},
}
CHART = {
    "transform": [{"fold": ["gradient", "output", "inverse"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "factor", "type": "quantitative", "scale": {"type": "log"}, "axis": {"format": ".0e"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    norm: Literal["batch", "layer", "none"] = "batch",
    scale: float = 10.0,
    batch: int = 64,
    width: int = 32,
    eps: float = 1e-5,
) -> Generator[Row, None, Metrics]:
    h = torch.randn(batch, width, dtype=torch.float64)
    weight = torch.randn(width, width, dtype=torch.float64) / math.sqrt(width)
    bias = torch.randn(width, dtype=torch.float64)
    cotangent = torch.randn(batch, width, dtype=torch.float64)

    def layer(factor: float, with_bias: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """y, and the gradients of W and b, at factor·W and factor·b."""
        w, b = (factor * weight).requires_grad_(), (with_bias * factor * bias).requires_grad_()
        z = h @ w + b
        if norm == "batch":
            z = batch_norm(z, None, None, training=True, eps=max(eps, 1e-300))
        elif norm == "layer":
            z = layer_norm(z, (width,), eps=eps)
        y = z.relu()
        grad_w, grad_b = torch.autograd.grad((y * cotangent).sum(), [w, b])
        return y.detach(), grad_w, grad_b

    y, grad_w, grad_b = layer(1.0)
    for step in range(-12, 13):
        factor = 10 ** (step / 4)
        other, other_w, _ = layer(factor)
        yield {
            "factor": factor,
            "gradient": (other_w.norm() / grad_w.norm()).item(),
            "output": (other.norm() / y.norm()).item(),
            "inverse": 1 / factor,
        }
    scaled, scaled_w, _ = layer(scale)
    without, _, _ = layer(1.0, 0.0)
    ratio = (grad_w.norm() / scaled_w.norm()).item()
    return {
        "output_change": ((scaled - y).abs().max() / y.abs().max()).item(),
        "grad_ratio": ratio,
        "grad_ratio_error": abs(ratio / scale - 1),
        "effective_rate_ratio": ratio * scale,
        "radial_share": ((weight * grad_w).sum().abs() / (weight.norm() * grad_w.norm())).item(),
        "weight_grad": grad_w.norm().item(),
        "bias_grad": grad_b.norm().item(),
        "bias_share": (grad_b.norm() / grad_w.norm()).item(),
        "bias_effect": ((without - y).abs().max() / y.abs().max()).item(),
    }


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
