"""Batch norm after a linear layer cancels the length of each weight row, not its direction; one input has no direction.

One unit y = batch_norm(w·x + b), batch statistics, γ = 1, β = 0, ε = 1e-5, float64, over `batch` samples of `inputs`
features x ~ N(0, 1); w ~ N(0, 1). Compared with the same unit with `scale`·w, with −w and with ten other weights:

scaled_change    largest change of y with scale·w for w, over the largest |y|: 0 up to ε
other            mean absolute correlation of y with the outputs of the other weights: 1 if they all give the same y
gradient         norm of the gradient of w (cotangent N(0, 1)) over that without batch norm
radial           cosine between w and its gradient: 0, the gradient only turns w

Then w is trained from the start by gradient descent, lr 1, 300 steps, so that y fits t = x·v, normalised, v ~ N(0, 1):
correlation with the target before and after. With one input y = sign(w)·(normalised x) up to ε: nothing but the sign
counts, and of the gradient only what ε leaves, along w itself. Random: x, weights, cotangent, v.
Source: Salimans & Kingma 2016, Weight normalization; van Laarhoven 2017, L2 regularization versus batch normalization.
"""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

TITLE = {"zh": "线性层后面接批量归一化", "en": "Batch norm after a linear layer"}
PARAMS = {
    "inputs": {"zh": "输入特征数", "en": "input features", "ge": 1, "le": 256},
    "scale": {"zh": "权重放大的倍数", "en": "factor on the weights", "ge": 1e-6, "le": 1e6},
    "batch": {"zh": "样本数", "en": "samples", "ge": 8, "le": 512},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "correlation": {"zh": "输出与目标的相关", "en": "correlation with the target"},
    "norm": {"zh": "权重的范数", "en": "norm of the weights"},
}
METRICS = {
    "scaled_change": {"zh": "权重放大后输出的改变", "en": "change of the output with scaled weights"},
    "other": {"zh": "换一组权重，输出的相关", "en": "correlation with the output of other weights"},
    "gradient": {"zh": "梯度与没有归一化时之比", "en": "gradient over that without batch norm"},
    "radial": {"zh": "权重与梯度的余弦", "en": "cosine between weights and gradient"},
    "before": {"zh": "训练前与目标的相关", "en": "correlation with the target before training"},
    "after": {"zh": "训练后与目标的相关", "en": "correlation with the target after training"},
}
CHART = {
    "transform": [{"fold": ["correlation", "norm"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(inputs: int = 8, scale: float = 10.0, batch: int = 256) -> Generator[Row, None, Metrics]:
    x, w = torch.randn(batch, inputs).double(), torch.randn(inputs).double()
    cotangent, others = torch.randn(batch).double(), torch.randn(10, inputs).double()
    y = unit(x, w)
    target = unit(x, torch.randn(inputs).double())
    gradient, plain = (gradient_of(x, w, cotangent, normalise) for normalise in (True, False))
    trained = w.clone().requires_grad_()
    optimizer = torch.optim.SGD([trained], lr=1.0)
    for step in range(301):
        output = unit(x, trained)
        if step % 10 == 0:
            yield {
                "step": step,
                "correlation": correlation(output.detach(), target),
                "norm": trained.detach().norm().item(),
            }
        optimizer.zero_grad()
        (output - target).square().mean().backward()
        optimizer.step()
    return {
        "scaled_change": ((unit(x, scale * w) - y).abs().max() / y.abs().max()).item(),
        "other": sum(abs(correlation(unit(x, other), y)) for other in others) / len(others),
        "gradient": (gradient.norm() / plain.norm()).item(),
        "radial": (gradient @ w / (gradient.norm() * w.norm())).item() if gradient.norm() > 0 else 0.0,
        "before": correlation(y, target),
        "after": correlation(unit(x, trained.detach()), target),
    }


def unit(x: Tensor, w: Tensor) -> Tensor:
    """The normalised output of the unit, one number for each sample."""
    return batch_norm((x @ w)[:, None], None, None, training=True)[:, 0]


def gradient_of(x: Tensor, w: Tensor, cotangent: Tensor, normalise: bool) -> Tensor:
    w = w.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(((unit(x, w) if normalise else x @ w) * cotangent).sum(), w)
    return gradient


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
