"""Differentiable is not enough: a step has derivative 0 almost everywhere, and a deep sigmoid net hardly learns.

Data: 256 points x ~ N(0, I) in the plane; label sign(x₁·x₂) (`xor`) or sign(x₁) (`linear`). Net: 2 → `layers` hidden
layers of `width` units → 1, trained on all points at once for n steps of Adam on the mean squared error; accuracy is
that on the same points (sign of the output). Weights N(0, g/fan-in) with g = 2 for ReLU and 1 otherwise, read-out
N(0, 1/width), biases 0, float32; the same random numbers for every activation. Hidden activations: step = (sign +
1)/2, whose gradient autograd gives as 0; sigmoid; ReLU; tanh; and step_ste, the same step on the way forward, on the
way back the slope of hardtanh(z)/2 + ½ (a straight-through estimator). grad_* is the norm of the loss's gradient at
the first weight matrix before training, in float64. With the step only the read-out learns: the hidden layers stay
random features. Source: Bengio, Léonard & Courville 2013; Glorot, Bordes & Bengio 2011.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import hardtanh

TITLE = {"zh": "可导还不够", "en": "Differentiable is not enough"}
PARAMS = {
    "layers": {"zh": "隐藏层数", "en": "hidden layers", "unit": "layer", "ge": 1, "le": 60},
    "width": {"zh": "每层宽度", "en": "units per layer", "unit": "unit", "ge": 1, "le": 64},
    "lr": {"zh": "Adam 的学习率", "en": "learning rate of Adam", "ge": 0, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 300},
    "act": {"zh": "激活函数", "en": "activation"},
    "target": {"zh": "要学的标签", "en": "labels to learn"},
}
LIMITS = [{"product": ["layers", "n"], "le": 2000}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "series": {"zh": "激活函数", "en": "activation"},
    "accuracy": {"zh": "训练准确率", "en": "training accuracy"},
    "loss": {"zh": "均方误差", "en": "mean squared error"},
}
METRICS = {
    "step_acc": {"zh": "阶跃：训练后的准确率", "en": "step: accuracy after training"},
    "step_grad": {"zh": "阶跃：第一层的初始梯度", "en": "step: first layer's gradient at the start"},
    "step_loss": {"zh": "阶跃：训练后的损失", "en": "step: loss after training"},
    "sigmoid_acc": {"zh": "sigmoid：训练后的准确率", "en": "sigmoid: accuracy after training"},
    "sigmoid_grad": {"zh": "sigmoid：第一层的初始梯度", "en": "sigmoid: first layer's gradient at the start"},
    "sigmoid_loss": {"zh": "sigmoid：训练后的损失", "en": "sigmoid: loss after training"},
    "relu_acc": {"zh": "ReLU：训练后的准确率", "en": "ReLU: accuracy after training"},
    "relu_grad": {"zh": "ReLU：第一层的初始梯度", "en": "ReLU: first layer's gradient at the start"},
    "relu_loss": {"zh": "ReLU：训练后的损失", "en": "ReLU: loss after training"},
    "tanh_acc": {"zh": "tanh：训练后的准确率", "en": "tanh: accuracy after training"},
    "tanh_grad": {"zh": "tanh：第一层的初始梯度", "en": "tanh: first layer's gradient at the start"},
    "tanh_loss": {"zh": "tanh：训练后的损失", "en": "tanh: loss after training"},
    "step_ste_acc": {"zh": "阶跃＋直通：训练后的准确率", "en": "step, straight-through: accuracy after training"},
    "step_ste_grad": {"zh": "阶跃＋直通：第一层的初始梯度", "en": "step, straight-through: first gradient"},
    "step_ste_loss": {"zh": "阶跃＋直通：训练后的损失", "en": "step, straight-through: loss after training"},
    "relu_minus_step": {"zh": "ReLU 比阶跃高出的准确率", "en": "accuracy of ReLU above step"},
    "relu_minus_sigmoid": {"zh": "ReLU 比 sigmoid 高出的准确率", "en": "accuracy of ReLU above sigmoid"},
    "ste_minus_step": {"zh": "直通估计带来的准确率", "en": "accuracy gained by straight-through"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "accuracy", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
SAMPLES = 256


def step(z: Tensor) -> Tensor:
    return (z.sign() + 1) / 2


def step_ste(z: Tensor) -> Tensor:
    smooth = (hardtanh(z) + 1) / 2
    return smooth + (step(z) - smooth).detach()


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {  # φ and the gain g
    "step": (step, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "relu": (torch.relu, 2.0),
    "tanh": (torch.tanh, 1.0),
    "step_ste": (step_ste, 1.0),
}


def run(
    layers: int = 8,
    width: int = 32,
    lr: float = 0.01,
    n: int = 150,
    act: Literal["all", "step", "sigmoid", "relu", "tanh", "step_ste"] = "all",
    target: Literal["xor", "linear"] = "xor",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, 2)
    y = (x[:, :1] * x[:, 1:] if target == "xor" else x[:, :1]).sign()
    draws = [torch.randn(2, width), torch.randn(layers - 1, width, width), torch.randn(width, 1)]
    found: Metrics = dict.fromkeys(METRICS)
    for name, (phi, gain) in ACTIVATIONS.items():
        if act not in ("all", name):
            continue
        scales = [math.sqrt(gain / 2), math.sqrt(gain / width), math.sqrt(1 / width)]
        weights = [(draw * scale).requires_grad_() for draw, scale in zip(draws, scales, strict=True)]
        parameters = [*weights, torch.zeros(layers, width, requires_grad=True), torch.zeros(1, requires_grad=True)]
        sizes = [p.numel() for p in parameters]
        mean, square = torch.zeros(sum(sizes)), torch.zeros(sum(sizes))
        for at in range(n + 1):
            out = forward(x, parameters, phi)
            loss = ((out - y) ** 2).mean()
            accuracy = float((out.sign() == y).double().mean())
            if at % max(1, n // 50) == 0 or at == n:
                yield {"step": at, "series": name, "accuracy": accuracy, "loss": loss.item()}
            if at == n:
                break
            gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
            if at == 0:
                found[f"{name}_grad"] = float(gradients[0].double().norm())
            with torch.no_grad():
                step = adam(torch.cat([g.flatten() for g in gradients]), mean, square, lr, at + 1)
                for p, part in zip(parameters, step.split(sizes), strict=True):
                    p.sub_(part.view_as(p))
        found |= {f"{name}_acc": accuracy, f"{name}_loss": loss.item()}
    if act == "all":
        for metric, high, low in (
            ("relu_minus_step", "relu", "step"),
            ("relu_minus_sigmoid", "relu", "sigmoid"),
            ("ste_minus_step", "step_ste", "step"),
        ):
            found[metric] = (found[f"{high}_acc"] or 0) - (found[f"{low}_acc"] or 0)
    return found


def adam(g: Tensor, mean: Tensor, square: Tensor, lr: float, t: int) -> Tensor:
    """Step number t of Adam with β = 0.9, 0.999 and ε = 1e-8 (Kingma & Ba 2015), to be subtracted."""
    mean.lerp_(g, 0.1)
    square.lerp_(g * g, 0.001)
    return lr * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)


def forward(x: Tensor, parameters: list[Tensor], phi: Callable[[Tensor], Tensor]) -> Tensor:
    """The net's output, shape (samples, 1)."""
    first, hidden, read_out, biases, bias = parameters
    h = x
    for weight, b in zip([first, *hidden.unbind()], biases.unbind(), strict=True):
        h = phi(torch.addmm(b, h, weight))
    return torch.addmm(bias, h, read_out)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
