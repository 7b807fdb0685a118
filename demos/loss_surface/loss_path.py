"""Downhill all the way from the start to the solution; between two solutions, a ridge, even if they are one function.

The loss along the straight line (1 − t)·A + t·B in weight space, at `points` places. case = init_to_solution: A the
initial weights, B the trained ones. two_solutions: A and B trained from two different starts on the same data.
permuted: A a solution, B the same with the hidden units of every layer shuffled, which is the same function exactly.

Nets: 2 inputs, `layers` − 1 hidden layers of `width` ReLU units, one output, weights N(0, 2/fan-in) (He), biases 0; 128
points N(0, 1)², label 1 where x₁·x₂ > 0 (XOR of the signs), binary cross-entropy, `n` full-batch Adam steps of learning
rate 0.01, float32; the losses along the line in float64. The barrier is the largest loss on the line minus the larger
one of its ends; the largest rise is the largest loss minus the lowest one before it, 0 if it never rises.
Source: Goodfellow, Vinyals & Saxe 2015, Qualitatively characterizing neural network optimization problems; Garipov et
al. 2018; Draxler et al. 2018 (curves without a ridge do exist).
"""

from collections.abc import Generator
from itertools import accumulate, pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "两点之间直线上的损失", "en": "The loss on the straight line between two points"}
PARAMS = {
    "case": {"zh": "从哪里到哪里", "en": "from where to where"},
    "layers": {"zh": "层数", "en": "layers", "ge": 2, "le": 6},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 2, "le": 128},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 0, "le": 500},
    "points": {"zh": "线上取几点", "en": "points on the line", "ge": 3, "le": 101},
}
COLUMNS = {
    "t": {"zh": "在线上的位置 t", "en": "place on the line, t"},
    "loss": {"zh": "损失", "en": "loss"},
}
METRICS = {
    "first_loss": {"zh": "起点的损失", "en": "loss at the first end"},
    "last_loss": {"zh": "终点的损失", "en": "loss at the last end"},
    "middle_loss": {"zh": "中点的损失", "en": "loss in the middle"},
    "barrier": {"zh": "比两端高出多少", "en": "how far it rises above both ends"},
    "largest_rise": {"zh": "途中最大的回升", "en": "largest rise on the way"},
    "monotone": {"zh": "一路下降（1 是，0 否）", "en": "downhill all the way (1 yes, 0 no)"},
    "output_difference": {"zh": "两端输出的最大差", "en": "largest difference of the outputs of the ends"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "t", "type": "quantitative"},
        "y": {"field": "loss", "type": "quantitative"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Weights = list[Tensor]
SAMPLES, LR = 128, 0.01


def run(
    case: Literal["init_to_solution", "two_solutions", "permuted"] = "init_to_solution",
    layers: int = 3,
    width: int = 32,
    n: int = 200,
    points: int = 41,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, 2)
    y = (x[:, :1] * x[:, 1:] > 0).float()
    start = initial(layers, width)
    solution = train(start, x, y, n)
    if case == "init_to_solution":
        ends = start, solution
    elif case == "two_solutions":
        ends = solution, train(initial(layers, width), x, y, n)
    else:
        ends = solution, permuted(solution)
    losses = []
    for i in range(points):
        t = i / (points - 1)
        net = [a.lerp(b, t) for a, b in zip(*ends, strict=True)]
        losses.append(float(binary_cross_entropy_with_logits(forward(net, x).double(), y.double())))
        yield {"t": t, "loss": losses[-1]}
    rise = max(loss - low for loss, low in zip(losses, accumulate(losses, min), strict=True))
    return {
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "middle_loss": losses[points // 2],
        "barrier": max(losses) - max(losses[0], losses[-1]),
        "largest_rise": rise,
        "monotone": int(rise == 0),
        "output_difference": float((forward(ends[0], x) - forward(ends[1], x)).abs().max()),
    }


def initial(layers: int, width: int) -> Weights:
    """Weights and biases, alternating."""
    sizes = [2, *[width] * (layers - 1), 1]
    pairs = [(torch.randn(a, b) * (2 / a) ** 0.5, torch.zeros(b)) for a, b in pairwise(sizes)]
    return [part for pair in pairs for part in pair]


def forward(net: Weights, x: Tensor) -> Tensor:
    for weight, bias in zip(net[:-2:2], net[1:-2:2], strict=True):
        x = torch.addmm(bias, x, weight).relu()
    return torch.addmm(net[-1], x, net[-2])


def train(start: Weights, x: Tensor, y: Tensor, n: int) -> Weights:
    net = [part.clone().requires_grad_() for part in start]
    optimiser = torch.optim.Adam(net, lr=LR, fused=True)
    for _ in range(n):
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(forward(net, x), y).backward()
        optimiser.step()
    return [part.detach() for part in net]


def permuted(net: Weights) -> Weights:
    """The same function with its hidden units in another order."""
    net = list(net)
    for i in range(0, len(net) - 2, 2):
        order = torch.randperm(net[i].shape[1])
        net[i], net[i + 1], net[i + 2] = net[i][:, order], net[i + 1][order], net[i + 2][order]
    return net


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
