"""When gradients are too small there is no nan: the loss falls to that of one constant guess and stays there, flat.

A fully connected net of `layers` weight matrices, 8 - width - … - width - 1, with activation `act` between them,
weights N(0, gain²/fan_in), biases 0 at first and trained. 128 samples, x ~ N(0, 1), target sign(x1·x2), mean squared
error, `n` full-batch steps of plain gradient descent. Random: inputs and weights.

Through 15 sigmoid layers the gradient shrinks by a factor of about 1/4 per layer, so only the last layers learn, and
what they can learn is a constant: the best one has the loss Var y. The flatness is |loss at the end / Var y − 1|. With
lr = 0 the loss does not move from where it starts. At 100 layers the gradient of the first one is exactly 0 (it
underflows), and still nothing is nan. One layer learns what is linear in the sample. nan = 1 if the loss, a weight or a
gradient is nan at any step. Source: Pascanu, Mikolov & Bengio 2013; Glorot & Bengio 2010, Understanding the difficulty
of training deep feedforward neural networks.
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "梯度太小：一条平线，没有 nan", "en": "Gradients too small: flat, and no nan"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 100},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 1, "le": 256},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 100},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
    "act": {"zh": "激活函数", "en": "activation"},
    "gain": {"zh": "权重尺度（乘 1/√n）", "en": "weight scale, times 1/√fan_in", "ge": 0, "le": 10},
}
LIMITS = [{"product": ["layers", "n"], "le": 7500}, {"product": ["layers", "width", "width", "n"], "le": 120000000}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "constant": {"zh": "常数预测的损失", "en": "loss of one constant guess"},
    "gradient": {"zh": "第一层的梯度范数", "en": "gradient norm of the first layer"},
}
METRICS = {
    "loss_start": {"zh": "开始时的损失", "en": "loss at the start"},
    "loss_20": {"zh": "20 步后的损失", "en": "loss after 20 steps"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "var_y": {"zh": "目标的方差（最好的常数预测的损失）", "en": "variance of the target"},
    "flatness": {"zh": "|最后损失/方差 − 1|", "en": "|loss at the end / variance − 1|"},
    "first_gradient": {"zh": "第一层梯度范数（开始）", "en": "first layer's gradient norm at the start"},
    "first_gradient_end": {"zh": "第一层梯度范数（最后）", "en": "first layer's gradient norm at the end"},
    "last_gradient": {"zh": "最后一层梯度范数（开始）", "en": "last layer's gradient norm at the start"},
    "gradient_ratio": {"zh": "首层与末层梯度之比（开始）", "en": "first over last gradient at the start"},
    "nan": {"zh": "有没有出现 nan", "en": "nan anywhere"},
}
CHART = {
    "transform": [{"fold": ["loss", "constant", "gradient"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SAMPLES, INPUTS = 128, 8


def run(
    layers: int = 15,
    width: int = 64,
    lr: float = 0.1,
    n: int = 100,
    act: Literal["sigmoid", "tanh", "relu"] = "sigmoid",
    gain: float = 1.0,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, INPUTS)
    y = torch.sign(x[:, :1] * x[:, 1:2])
    var_y = y.double().var(correction=0).item()
    sizes = [INPUTS, *[width] * (layers - 1), 1]
    params = [(gain * torch.randn(a, b) / math.sqrt(a)).requires_grad_() for a, b in pairwise(sizes)]
    params += [torch.zeros(b, requires_grad=True) for b in sizes[1:]]
    losses: list[float] = []
    first, last, found_nan, every = [], math.nan, 0, math.ceil(n / 100)
    for step in range(n + 1):
        loss = (forward(x, params, layers, getattr(torch, act)) - y).pow(2).mean()
        grads = torch.autograd.grad(loss, params)
        losses.append(loss.item())
        first.append(grads[0].double().norm().item())
        last = grads[layers - 1].double().norm().item() if step == 0 else last
        found_nan |= int(any(bool(t.isnan().any()) for t in (loss, *grads, *params)))
        if step % every == 0 or step == n:
            yield {"step": step, "loss": losses[-1], "constant": var_y, "gradient": first[-1]}
        if step < n:
            with torch.no_grad():
                for p, g in zip(params, grads, strict=True):
                    p.sub_(lr * g)
    return {
        "loss_start": losses[0],
        "loss_20": losses[min(20, n)],
        "loss_end": losses[-1],
        "var_y": var_y,
        "flatness": abs(losses[-1] / var_y - 1) if var_y else math.nan,
        "first_gradient": first[0],
        "first_gradient_end": first[-1],
        "last_gradient": last,
        "gradient_ratio": first[0] / last if last else math.nan,
        "nan": found_nan,
    }


def forward(x: Tensor, params: list[Tensor], layers: int, phi: object) -> Tensor:
    """The output; params: all weights, then all biases."""
    h = x
    for i, (w, b) in enumerate(zip(params[:layers], params[layers:], strict=True)):
        h = torch.addmm(b, h, w)
        if i < layers - 1:
            h = phi(h)  # type: ignore[operator]  # one of three functions of torch
    return h


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
