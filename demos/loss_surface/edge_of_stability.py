"""Full-batch gradient descent climbs until the sharpness is 2/lr, and then stays there: the edge of stability.

A tanh net, 4 inputs, two hidden layers of `width` units, one output, weights N(0, 1/fan-in) and biases 0; 48 samples
N(0, 1)⁴, target x₁·x₂ + sin(2x₃); `n` steps of full-batch gradient descent at learning rate `lr` on half the mean
squared error, float64. The sharpness is the largest eigenvalue of the loss's Hessian, by power iteration on
Hessian-vector products (12 of them at each of about 40 moments, started from the vector found last).

Theory: on a quadratic of curvature λ gradient descent converges only for λ < 2/lr. On a real loss the sharpness first
rises by itself (progressive sharpening) as long as it is below 2/lr; when it gets there the iterate begins to swing
along that direction, and the swing itself drives the curvature back. So the sharpness of the place where training ends
tells the learning rate more than the landscape. If lr is so small that 2/lr is not reached within n steps, the ratio
stays below 1. Source: Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability.
"""

import math
from collections.abc import Generator
from itertools import pairwise

import torch
from torch import Tensor

TITLE = {"zh": "曲率停在 2/lr：稳定性的边缘", "en": "Sharpness settles at 2/lr: the edge of stability"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0.001, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 2000},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 2, "le": 64},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "sharpness": {"zh": "曲率（最大特征值）", "en": "sharpness (top eigenvalue)"},
    "edge": {"zh": "2/lr", "en": "2/lr"},
    "loss": {"zh": "损失", "en": "loss"},
}
METRICS = {
    "start": {"zh": "开始时的曲率", "en": "sharpness at the start"},
    "end": {"zh": "结束时的曲率", "en": "sharpness at the end"},
    "two_over_lr": {"zh": "2/lr", "en": "2/lr"},
    "ratio": {"zh": "结束时的曲率与 2/lr 之比", "en": "sharpness at the end over 2/lr"},
    "distance": {"zh": "这个比值离 1 多远", "en": "how far that ratio is from 1"},
    "edge_step": {"zh": "第一次到达 2/lr 的九成", "en": "first within a tenth of 2/lr", "unit": "step"},
    "loss_start": {"zh": "开始时的损失", "en": "loss at the start"},
    "loss_end": {"zh": "结束时的损失", "en": "loss at the end"},
    "loss_rises": {"zh": "损失上升的步数占多少", "en": "fraction of steps at which the loss rose"},
}
CHART = {
    "transform": [{"fold": ["sharpness", "edge"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
INPUTS, SAMPLES, MOMENTS, POWER = 4, 48, 40, 12


def run(lr: float = 0.2, n: int = 600, width: int = 32) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, INPUTS).double()
    y = x[:, :1] * x[:, 1:2] + torch.sin(2 * x[:, 2:3])
    sizes = [INPUTS, width, width, 1]
    net = []
    for a, b in pairwise(sizes):
        net += [(torch.randn(a, b).double() / math.sqrt(a)).requires_grad_(), torch.zeros(b).double().requires_grad_()]
    vector = [torch.randn_like(part) for part in net]
    every = -(-n // MOMENTS)
    losses: list[float] = []
    found: list[tuple[int, float]] = []
    for step in range(n + 1):
        loss = half_error(net, x, y)
        losses.append(loss.item())
        if step % every == 0 or step == n:
            gradients = torch.autograd.grad(loss, net, create_graph=True)
            top, vector = top_eigenvalue(gradients, net, vector, 60 if step == 0 else POWER)
            found.append((step, top))
            yield {"step": step, "sharpness": top, "edge": 2 / lr, "loss": losses[-1]}
        else:
            gradients = torch.autograd.grad(loss, net)
        with torch.no_grad():
            for part, gradient in zip(net, gradients, strict=True):
                part.sub_(lr * gradient)
    end = found[-1][1]
    rises = sum(after > before for before, after in pairwise(losses))
    return {
        "start": found[0][1],
        "end": end,
        "two_over_lr": 2 / lr,
        "ratio": end * lr / 2,
        "distance": abs(end * lr / 2 - 1),
        "edge_step": next((step for step, top in found if top > 0.9 * 2 / lr), None),
        "loss_start": losses[0],
        "loss_end": losses[-1],
        "loss_rises": rises / n,
    }


def half_error(net: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    h = torch.tanh(torch.addmm(net[1], x, net[0]))
    h = torch.tanh(torch.addmm(net[3], h, net[2]))
    return (torch.addmm(net[5], h, net[4]) - y).square().mean() / 2


def top_eigenvalue(
    gradients: tuple[Tensor, ...], net: list[Tensor], vector: list[Tensor], iterations: int
) -> tuple[float, list[Tensor]]:
    """The eigenvalue of largest size and its vector; gradients carry their graph."""
    top = math.nan
    for _ in range(iterations):
        size = math.sqrt(sum(part.square().sum().item() for part in vector))
        if not size or not math.isfinite(size):
            return math.nan, [torch.ones_like(part) for part in net]
        unit = [part / size for part in vector]
        vector = list(torch.autograd.grad(gradients, net, unit, retain_graph=True))
        top = sum((v * u).sum().item() for v, u in zip(vector, unit, strict=True))
    return top, vector


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
