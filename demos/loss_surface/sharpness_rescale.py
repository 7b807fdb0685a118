"""One function, its weights reparameterised: a hundred times sharper, but not along filter-normalised directions.

A two-layer ReLU net without biases, 2 inputs, `width` units, 1 output, f(x) = relu(x W) V; W ~ N(0, 1), V ~ N(0,
1/width), trained by 300 steps of full-batch gradient descent (learning rate 0.02) on the mean squared error of 64
samples N(0, 1)² with target x₁·x₂. Then (W, V) becomes (α W, V/α), α = `alpha`: for α > 0 the same function, since
relu(αz) = α·relu(z). float64. Compared before and after: the largest eigenvalue of the loss's Hessian (exact), and how
much the loss rises along random directions, mean over both signs of 20 directions drawn once from N(0, 1): raw ones
scaled to length 0.1 in all, and filter-normalised ones, the part of every unit scaled to 0.1 times the length of that
unit's incoming weights.

Theory: the block of the Hessian that belongs to V grows α²-fold, that of W shrinks α²-fold, so the eigenvalue ratio
tends to α² times a constant (below 1) for large α; along filter-normalised directions nothing changes. α ≤ 0 is no such
rescaling. Source: Dinh et al. 2017, Sharp minima can generalize for deep nets; Li et al. 2018, Visualizing the loss
landscape of neural nets.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "同一个函数，重参数化就变尖", "en": "The same function, written sharper"}
PARAMS = {
    "alpha": {
        "zh": "第一层乘以 α，第二层除以 α",
        "en": "first layer times α, second divided by α",
        "ge": 0.001,
        "le": 1000,
    },
    "width": {"zh": "隐藏层宽度", "en": "hidden units", "unit": "unit", "ge": 2, "le": 128},
}
COLUMNS = {
    "step": {"zh": "沿方向走多远", "en": "how far along the direction"},
    "series": {"zh": "方向与写法", "en": "direction and writing"},
    "loss": {"zh": "损失", "en": "loss"},
}
METRICS = {
    "function_diff": {"zh": "两种写法输出的最大差", "en": "largest difference of the two outputs"},
    "loss": {"zh": "解处的损失", "en": "loss at the solution"},
    "top_hessian_before": {"zh": "海森矩阵最大特征值，原写法", "en": "top Hessian eigenvalue, as trained"},
    "top_hessian_after": {"zh": "海森矩阵最大特征值，重参数化后", "en": "top Hessian eigenvalue, rewritten"},
    "ratio": {"zh": "最大特征值之比", "en": "ratio of the eigenvalues"},
    "abs_log10_ratio": {
        "zh": "特征值之比差几个数量级",
        "en": "ratio of the eigenvalues in orders of magnitude, in size",
    },
    "theory_ratio": {"zh": "α²", "en": "α²"},
    "raw_before": {"zh": "原始方向：损失升高，原写法", "en": "raw direction: rise of the loss, as trained"},
    "raw_after": {"zh": "原始方向：损失升高，重参数化后", "en": "raw direction: rise of the loss, rewritten"},
    "raw_change": {
        "zh": "原始方向：升高差几个数量级",
        "en": "raw direction: change of that rise in orders of magnitude",
    },
    "filter_before": {"zh": "滤波器归一化：损失升高，原写法", "en": "filter-normalised: rise of the loss, as trained"},
    "filter_after": {"zh": "滤波器归一化：损失升高，重参数化后", "en": "filter-normalised: rise, rewritten"},
    "filter_change": {"zh": "滤波器归一化：升高差几个数量级", "en": "filter-normalised: change in orders of magnitude"},
}
WORDS = {
    "raw before": {"zh": "原始方向，原写法", "en": "raw, as trained"},
    "raw after": {"zh": "原始方向，重参数化后", "en": "raw, rewritten"},
    "filter before": {"zh": "滤波器归一化，原写法", "en": "filter-normalised, as trained"},
    "filter after": {"zh": "滤波器归一化，重参数化后", "en": "filter-normalised, rewritten"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "loss", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
Net = tuple[Tensor, Tensor]
SAMPLES, STEPS, LR, DIRECTIONS, LENGTH = 64, 300, 0.02, 20, 0.1


def run(alpha: float = 10.0, width: int = 32) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, 2, dtype=torch.float64)
    y = x[:, :1] * x[:, 1:]
    first = torch.randn(2, width, dtype=torch.float64)
    net = trained((first, torch.randn(width, 1, dtype=torch.float64) / math.sqrt(width)), x, y)
    draws = [tuple(torch.randn_like(part) for part in net) for _ in range(DIRECTIONS)]
    nets = {"before": net, "after": (net[0] * alpha, net[1] / alpha)}
    tops, rises = {}, {}
    for when, one in nets.items():
        tops[when] = top_eigenvalue(one, x, y)
        for kind in ("raw", "filter"):
            directions = [scaled(draw, one, kind) for draw in draws]
            rises[f"{kind}_{when}"] = sum(rise(one, d, x, y) for d in directions) / DIRECTIONS
            for step in range(-10, 11):
                moved = loss(shifted(one, directions[0], step / 5), x, y)
                yield {"step": step / 5, "series": f"{kind} {when}", "loss": float(moved)}
    ratio = tops["after"] / tops["before"]
    return {
        "function_diff": float((output(nets["after"], x) - output(net, x)).abs().max()),
        "loss": float(loss(net, x, y)),
        "top_hessian_before": tops["before"],
        "top_hessian_after": tops["after"],
        "ratio": ratio,
        "abs_log10_ratio": abs(math.log10(ratio)),
        "theory_ratio": alpha**2,
        **rises,
        "raw_change": decades(rises["raw_after"], rises["raw_before"]),
        "filter_change": decades(rises["filter_after"], rises["filter_before"]),
    }


def output(net: Net, x: Tensor) -> Tensor:
    return (x @ net[0]).relu() @ net[1]


def loss(net: Net, x: Tensor, y: Tensor) -> Tensor:
    return (output(net, x) - y).square().mean()


def trained(net: Net, x: Tensor, y: Tensor) -> Net:
    """After gradient descent."""
    for _ in range(STEPS):
        first, second = (part.requires_grad_() for part in net)
        gradients = torch.autograd.grad(loss((first, second), x, y), (first, second))
        net = (first - LR * gradients[0]).detach(), (second - LR * gradients[1]).detach()
    return net


def top_eigenvalue(net: Net, x: Tensor, y: Tensor) -> float:
    """The largest eigenvalue of the whole Hessian."""
    shape = net[0].shape

    def of(flat: Tensor) -> Tensor:
        return loss((flat[: shape.numel()].view(shape), flat[shape.numel() :, None]), x, y)

    flat = torch.cat([part.flatten() for part in net])
    return float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(of, flat, vectorize=True))[-1])


def scaled(draw: tuple[Tensor, ...], net: Net, kind: str) -> Net:
    """A direction: of length LENGTH in all, or unit by unit of LENGTH times the length of the weights."""
    if kind == "raw":
        size = math.sqrt(sum(float(part.square().sum()) for part in draw))
        return draw[0] * LENGTH / size, draw[1] * LENGTH / size
    first, second = (d * LENGTH * w.norm(dim=0) / d.norm(dim=0) for d, w in zip(draw, net, strict=True))
    return first, second


def shifted(net: Net, direction: Net, step: float) -> Net:
    return net[0] + step * direction[0], net[1] + step * direction[1]


def rise(net: Net, direction: Net, x: Tensor, y: Tensor) -> float:
    """How much the loss rises, mean of both signs, so that the slope drops out."""
    return float(
        (loss(shifted(net, direction, 1), x, y) + loss(shifted(net, direction, -1), x, y)) / 2 - loss(net, x, y)
    )


def decades(a: float, b: float) -> float:
    """|log10(a/b)|."""
    return abs(math.log10(a / b)) if a > 0 and b > 0 else math.nan


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
