"""Adam trains a deep sigmoid net whose gradients have vanished, SGD does not; below eps Adam stands still as well.

A net of `depth` sigmoid layers of width 32 and a linear output, Xavier weights, biases 0, is fitted to y = sin(2x₁) at
128 points x ~ N(0, 1) in 8 dimensions by `n` full-batch steps of SGD (rate 0.1, momentum 0.9) and of Adam (rate 0.003,
`eps`), from the same weights; targets have mean 0, so that a constant output has the loss 1 after division by the
variance.

Measured per layer: the rms of the gradient at the start and the relative change of the weights by training; the
losses. Theory: differences between samples shrink about fourfold in each sigmoid layer on the way up, gradients on the
way down, so that every layer's gradient is of the order 4 to the power −depth; SGD's step falls with it, Adam's is the
rate whatever the size of the gradient, until that comes near eps. Random: weights and data.
Source: Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks; Kingma & Ba
2015, Adam.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn

TITLE = {"zh": "深的 sigmoid 网络：Adam 与 SGD", "en": "A deep sigmoid net: Adam and SGD"}
PARAMS = {
    "depth": {"zh": "sigmoid 层数", "en": "sigmoid layers", "unit": "layer", "ge": 2, "le": 16},
    "eps": {"zh": "Adam 的 eps", "en": "eps of Adam", "ge": 1e-12, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 10, "le": 300},
}
COLUMNS = {
    "layer": {"zh": "层", "en": "layer"},
    "gradient": {"zh": "开始时的梯度（均方根）", "en": "gradient at the start, rms"},
    "sgd": {"zh": "SGD：权重的相对变化", "en": "SGD: relative change of the weights"},
    "adam": {"zh": "Adam：权重的相对变化", "en": "Adam: relative change of the weights"},
}
METRICS = {
    "first_gradient": {"zh": "第一层的梯度", "en": "gradient of the first layer"},
    "sgd_first": {"zh": "SGD：第一层的相对变化", "en": "SGD: relative change of the first layer"},
    "adam_first": {"zh": "Adam：第一层的相对变化", "en": "Adam: relative change of the first layer"},
    "sgd_loss": {"zh": "SGD：最后的损失", "en": "SGD: loss at the end"},
    "adam_loss": {"zh": "Adam：最后的损失", "en": "Adam: loss at the end"},
}
CHART = {
    "transform": [{"fold": ["gradient", "sgd", "adam"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(depth: int = 8, eps: float = 1e-8, n: int = 200) -> Generator[Row, None, Metrics]:
    x = torch.randn(128, 8)
    y = torch.sin(2 * x[:, :1])
    y = (y - y.mean()) / y.std(correction=0)
    start = [xavier(8 if layer == 0 else 32, 32) for layer in range(depth)] + [xavier(32, 1)]
    leaves = [layer.clone().requires_grad_() for layer in start]
    gradients = [rms(value) for value in torch.autograd.grad(loss_of(leaves, x, y), leaves)]
    sgd, sgd_loss = train(start, x, y, n, None)
    adam, adam_loss = train(start, x, y, n, eps)
    for layer, gradient in enumerate(gradients):
        yield {"layer": layer + 1, "gradient": gradient, "sgd": sgd[layer], "adam": adam[layer]}
    return {
        "first_gradient": gradients[0],
        "sgd_first": sgd[0],
        "adam_first": adam[0],
        "sgd_loss": sgd_loss,
        "adam_loss": adam_loss,
    }


def xavier(inputs: int, outputs: int) -> Tensor:
    """Weights N(0, 2/(inputs + outputs)), (outputs, inputs)."""
    return torch.randn(outputs, inputs) * math.sqrt(2 / (inputs + outputs))


def loss_of(weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error; the output has its mean taken away, in place of a bias."""
    hidden = x
    for layer in weights[:-1]:
        hidden = torch.sigmoid(hidden @ layer.T)
    output = hidden @ weights[-1].T
    return (output - output.mean() - y).square().mean()


def train(start: list[Tensor], x: Tensor, y: Tensor, steps: int, eps: float | None) -> tuple[list[float], float]:
    """Each layer's relative change after training by Adam, or by SGD if eps is None, and the loss."""
    weights = [nn.Parameter(layer.clone()) for layer in start]
    optimizer: torch.optim.Optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, fused=True)
    if eps is not None:
        optimizer = torch.optim.Adam(weights, lr=0.003, eps=eps, fused=True)
    for _ in range(steps):
        loss = loss_of(list(weights), x, y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    changes = [rms(after.detach() - before) / rms(before) for after, before in zip(weights, start, strict=True)]
    return changes, float(loss_of(list(weights), x, y).detach())


def rms(values: Tensor) -> float:
    """The root mean square, in float64."""
    return float(values.double().square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
