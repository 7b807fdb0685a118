"""Two principal components explain nearly all of a training path; but most of a mere random walk, too.

walk = training: a net of 4 inputs, two hidden layers of `width` tanh units and one output, weights N(0, 1/fan-in),
biases 0; 64 samples N(0, 1)⁴, target x₁·x₂, mean squared error, `n` steps of full-batch gradient descent at learning
rate `lr`, float32. walk = random: as many steps in as many dimensions, each an independent draw from N(0, 1). The path
is the list of all weights after each step; its mean is taken out and the singular value decomposition of what is left,
in float64, says which part of the variance each principal component explains.

Theory: a path that hardly bends has one large component. In very many dimensions a random walk of many steps gives the
k-th component the fraction 6/(π²k²), so 0.61 and 0.15, together 0.76, and its projections are cosines, smooth curves,
though there is no landscape whatever. A high fraction is therefore no sign of a simple landscape. Source: Li et al.
2018, Visualizing the loss landscape of neural nets (paths in the plane of two components).
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "训练轨迹的主成分", "en": "Principal components of a training path"}
PARAMS = {
    "walk": {"zh": "训练轨迹，还是随机游走", "en": "training path or random walk"},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 3, "le": 500},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0.001, "le": 0.3},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 2, "le": 64},
}
COLUMNS = {
    "first": {"zh": "第一主成分", "en": "first component"},
    "second": {"zh": "第二主成分", "en": "second component"},
    "step": {"zh": "第几步", "en": "step"},
}
METRICS = {
    "explained": {"zh": "前两个主成分解释的比例", "en": "fraction explained by two components"},
    "first_share": {"zh": "第一主成分的比例", "en": "fraction of the first component"},
    "second_share": {"zh": "第二主成分的比例", "en": "fraction of the second component"},
    "theory_random_walk": {"zh": "随机游走的理论比例", "en": "fraction of a random walk in theory"},
    "excess": {"zh": "比随机游走多出多少", "en": "more than a random walk by"},
    "straightness": {"zh": "首尾距离与路程之比", "en": "distance of the ends over length of the path"},
    "dimensions": {"zh": "权重个数", "en": "number of weights"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "first", "type": "quantitative"},
        "y": {"field": "second", "type": "quantitative"},
        "order": {"field": "step", "type": "quantitative"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    walk: Literal["training", "random"] = "training", n: int = 200, lr: float = 0.05, width: int = 24
) -> Generator[Row, None, Metrics]:
    sizes = [4, width, width, 1]
    dimensions = sum(a * b + b for a, b in pairwise(sizes))
    loss = None
    if walk == "random":
        path = torch.randn(n + 1, dimensions).double().cumsum(0)
    else:
        path, loss = training(sizes, n, lr)
    path = path[path.isfinite().all(1)]  # a net that diverged: as far as it can be drawn
    centred = path - path.mean(0)
    u, values, _ = torch.linalg.svd(centred, full_matrices=False)
    shares = (values**2 / (values**2).sum()).tolist()
    for step in range(0, len(path), -(-len(path) // 101)):
        yield {"step": step, "first": float(u[step, 0] * values[0]), "second": float(u[step, 1] * values[1])}
    length = float((path[1:] - path[:-1]).norm(dim=1).sum())
    return {
        "explained": shares[0] + shares[1],
        "first_share": shares[0],
        "second_share": shares[1],
        "theory_random_walk": 7.5 / math.pi**2,
        "excess": shares[0] + shares[1] - 7.5 / math.pi**2,
        "straightness": float((path[-1] - path[0]).norm()) / length,
        "dimensions": dimensions,
        "loss_end": loss,
    }


def training(sizes: list[int], n: int, lr: float) -> tuple[Tensor, float]:
    """All weights at the start and after every step, and the last loss."""
    x = torch.randn(64, 4)
    y = x[:, :1] * x[:, 1:2]
    net = []
    for a, b in pairwise(sizes):
        net += [(torch.randn(a, b) / math.sqrt(a)).requires_grad_(), torch.zeros(b, requires_grad=True)]
    path = []
    for step in range(n + 1):
        path.append(torch.cat([part.detach().flatten() for part in net]).double())
        h = torch.tanh(torch.addmm(net[1], x, net[0]))
        h = torch.tanh(torch.addmm(net[3], h, net[2]))
        loss = (torch.addmm(net[5], h, net[4]) - y).square().mean()
        if step < n:
            gradients = torch.autograd.grad(loss, net)
            with torch.no_grad():
                for part, gradient in zip(net, gradients, strict=True):
                    part.sub_(lr * gradient)
    return torch.stack(path), loss.item()


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
