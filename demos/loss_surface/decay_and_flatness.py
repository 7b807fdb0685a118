"""How wide a map of the loss looks depends on how long the weights are, and L2 regularisation shortens them.

A net 2 - 32 - 32 - 1 with batch norm (no γ, β; batch statistics) and GELU after both hidden layers learns the sign of
x₁·x₂ at 256 points x ~ N(0, 1): cross-entropy, `n` full-batch steps of gradient descent at rate 0.5, once with L2
regularisation `decay` (added to the gradient as decay·W) of the two hidden matrices, once without. The hidden matrices
may be multiplied by any number without changing the function.

Curvature: (L(W + hD) − 2L(W) + L(W − hD))/h², the mean over 10 random directions D of the hidden matrices, float64, h
= 0.001. raw: every D has length 1; filter: the part of D of each unit is as long as that unit's weights. Both nets get
the same random numbers. Then the net without L2 with its hidden matrices times `factor`, which is the same function:
theory says that its raw curvature is 1/factor² times as large and the filter-normalised one unchanged.

Rows: the loss along the first direction, α from −2 to 2, raw directions and filter-normalised ones. Random: points,
weights, directions. Source: Li et al. 2018, Visualizing the loss landscape of neural nets; van Laarhoven 2017.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

TITLE = {"zh": "L2 正则与损失曲面的宽窄", "en": "L2 regularisation and the width of a loss map"}
PARAMS = {
    "decay": {"zh": "L2 系数", "en": "L2 coefficient", "ge": 0, "le": 0.1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 10, "le": 300},
    "factor": {"zh": "隐藏层权重乘以", "en": "hidden weights times", "ge": 0.01, "le": 100},
}
COLUMNS = {
    "alpha": {"zh": "沿方向的步长", "en": "step along the direction"},
    "raw_plain": {"zh": "不加 L2，原始方向", "en": "without L2, raw"},
    "raw_decay": {"zh": "加 L2，原始方向", "en": "with L2, raw"},
    "filter_plain": {"zh": "不加 L2，逐单元归一化", "en": "without L2, filter-normalised"},
    "filter_decay": {"zh": "加 L2，逐单元归一化", "en": "with L2, filter-normalised"},
}
METRICS = {
    "norm_plain": {"zh": "隐藏权重的范数，不加 L2", "en": "norm of the hidden weights, without L2"},
    "norm_decay": {"zh": "隐藏权重的范数，加 L2", "en": "norm of the hidden weights, with L2"},
    "norm_ratio": {"zh": "范数之比的平方", "en": "ratio of the norms, squared"},
    "raw_ratio": {"zh": "曲率之比（加 / 不加），原始方向", "en": "curvature with over without L2, raw"},
    "filter_ratio": {"zh": "曲率之比，逐单元归一化", "en": "curvature with over without L2, filter-normalised"},
    "shrunk_raw": {"zh": "权重缩放后曲率之比，原始方向", "en": "curvature after scaling the weights, raw"},
    "shrunk_filter": {"zh": "权重缩放后曲率之比，逐单元归一化", "en": "curvature after scaling, filter-normalised"},
    "theory_raw": {"zh": "1/倍数²", "en": "1/factor²"},
    "loss_change": {"zh": "缩放后损失的变化", "en": "change of the loss by scaling"},
    "loss_plain": {"zh": "损失，不加 L2", "en": "loss without L2"},
    "loss_decay": {"zh": "损失，加 L2", "en": "loss with L2"},
}
CHART = {
    "transform": [{"fold": ["raw_plain", "raw_decay", "filter_plain", "filter_decay"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "alpha", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Net = list[Tensor]
WIDTH, RATE, DIRECTIONS, STEP = 32, 0.5, 10, 0.001


def run(decay: float = 0.01, n: int = 150, factor: float = 0.5) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 2, dtype=torch.float64)
    y = (x[:, :1] * x[:, 1:] > 0).double()
    start = [torch.randn(a, b, dtype=torch.float64) / math.sqrt(a) for a, b in ((2, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))]
    draws = [[torch.randn_like(w) for w in start[:2]] for _ in range(DIRECTIONS)]
    plain, decayed = train(start, x, y, 0.0, n), train(start, x, y, decay, n)
    scaled = [factor * plain[0], factor * plain[1], plain[2]]
    for k in range(-20, 21):
        yield {"alpha": k / 10} | {
            f"{kind}_{name}": loss_of(moved(net, direction(draws[0], net, kind), k / 10), x, y).item()
            for name, net in (("plain", plain), ("decay", decayed))
            for kind in ("raw", "filter")
        }
    found = {
        (name, kind): curvature(net, draws, kind, x, y)
        for name, net in (("plain", plain), ("decay", decayed), ("scaled", scaled))
        for kind in ("raw", "filter")
    }
    norms = norm(plain), norm(decayed)
    loss = loss_of(plain, x, y).item()
    return {
        "norm_plain": norms[0],
        "norm_decay": norms[1],
        "norm_ratio": (norms[0] / norms[1]) ** 2,
        "raw_ratio": found["decay", "raw"] / found["plain", "raw"],
        "filter_ratio": found["decay", "filter"] / found["plain", "filter"],
        "shrunk_raw": found["scaled", "raw"] / found["plain", "raw"],
        "shrunk_filter": found["scaled", "filter"] / found["plain", "filter"],
        "theory_raw": 1 / factor**2,
        "loss_change": abs(loss_of(scaled, x, y).item() / loss - 1),
        "loss_plain": loss,
        "loss_decay": loss_of(decayed, x, y).item(),
    }


def normalised(h: Tensor) -> Tensor:
    """Each unit over the batch: mean 0, variance 1."""
    return (h - h.mean(0)) / h.std(0, correction=0)


def loss_of(net: Net, x: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy, without any penalty."""
    h = gelu(normalised(x @ net[0]))
    return binary_cross_entropy_with_logits(gelu(normalised(h @ net[1])) @ net[2], y)


def train(start: Net, x: Tensor, y: Tensor, decay: float, n: int) -> Net:
    """The weights after n steps; the read-out is not regularised."""
    net = [w.clone().requires_grad_() for w in start]
    for _ in range(n):
        gradients = torch.autograd.grad(loss_of(net, x, y), net)
        with torch.no_grad():
            for w, gradient, strength in zip(net, gradients, (decay, decay, 0.0), strict=True):
                w.sub_(RATE * (gradient + strength * w))
    return [w.detach() for w in net]


def direction(draw: Net, net: Net, kind: str) -> Net:
    """Of length 1 in all, or unit by unit as long as the weights of the net."""
    if kind == "raw":
        length = math.sqrt(sum(float(d.square().sum()) for d in draw))
        return [d / length for d in draw]
    return [d / d.norm(dim=0) * w.norm(dim=0) for d, w in zip(draw, net[:2], strict=True)]


def moved(net: Net, towards: Net, step: float) -> Net:
    return [net[0] + step * towards[0], net[1] + step * towards[1], net[2]]


def curvature(net: Net, draws: list[Net], kind: str, x: Tensor, y: Tensor) -> float:
    """The mean second difference of the loss over the directions."""
    centre, total = loss_of(net, x, y).item(), 0.0
    for draw in draws:
        towards = direction(draw, net, kind)
        sides = sum(loss_of(moved(net, towards, sign * STEP), x, y).item() for sign in (1, -1))
        total += (sides - 2 * centre) / STEP**2
    return total / len(draws)


def norm(net: Net) -> float:
    """Of both hidden matrices together."""
    return math.sqrt(sum(float(w.square().sum()) for w in net[:2]))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
