"""Where and when gradient norms are large tells the cause, but the weights' gradients of a ReLU net hide the layers.

A net of `layers` weight matrices, `width` units, 8 inputs N(0, 1), one output, no biases, learns y = x₁ + x₂ from
`batch` fixed samples by SGD, n steps. The healthy net has weights N(0, g²/inputs), g = √2 for ReLU and 1 for tanh, the
mean squared error and learning rate 0.01. Each case differs in one thing, with the same inputs and random numbers:
- weights: every weight matrix is `factor` times as large.
- sum: the loss is summed over the batch instead of averaged.
- rate: the learning rate is `lr`.
Before the first step, for every layer l: the norm of the gradient of the weights ∂L/∂W_l (what p.grad shows) and of
the signal ∂L/∂h_l (what flows back), and the factor per layer on the way back, between the second and the last but
one. Then the largest total norm of the run over that of its first step. Norms in float64.

Theory: ∂L/∂W_l = h_{l−1}ᵀ·∂L/∂z_l. In a ReLU net with weights too large by a factor c, the signal grows by c per layer
backwards and h by c per layer forwards, so ∂L/∂W_l is equally huge everywhere; tanh keeps h below 1 and the factor
shows. A summed loss is exactly `batch` times the mean. Source: Philipp, Song & Carbonell 2018; Pascanu, Mikolov &
Bengio 2013.
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "梯度范数的三种样子", "en": "Three patterns of gradient norms"}
PARAMS = {
    "case": {"zh": "哪里不一样", "en": "what is different"},
    "act": {"zh": "激活函数", "en": "activation"},
    "layers": {"zh": "权重矩阵的个数", "en": "weight matrices", "unit": "layer", "ge": 4, "le": 50},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 8, "le": 128},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 1024},
    "factor": {"zh": "权重放大的倍数", "en": "weights are larger by", "ge": 1, "le": 100},
    "lr": {"zh": "过大的学习率", "en": "the learning rate that is too large", "ge": 0, "le": 100},
    "n": {"zh": "训练步数", "en": "training steps", "ge": 1, "le": 100},
}
LIMITS = [
    {"product": ["layers", "width", "width", "n"], "le": 4000000},
    {"product": ["layers", "width", "n", "batch"], "le": 10000000},
]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "哪个梯度", "en": "which gradient"},
    "gradient": {"zh": "第一步的梯度范数", "en": "gradient norm at the first step"},
}
METRICS = {
    "total_norm": {"zh": "第一步的总梯度范数", "en": "total gradient norm at the first step"},
    "healthy_norm": {"zh": "健康网络的总梯度范数", "en": "total gradient norm of the healthy net"},
    "over_healthy": {"zh": "是健康网络的几倍", "en": "times that of the healthy net"},
    "signal_factor": {"zh": "信号的梯度：往回每层的倍数", "en": "gradient of the signal: factor per layer"},
    "weight_factor": {"zh": "权重的梯度：往回每层的倍数", "en": "gradient of the weights: factor per layer"},
    "healthy_signal_factor": {"zh": "健康网络，信号的梯度：每层的倍数", "en": "healthy net, signal: factor per layer"},
    "growth": {"zh": "训练中最大的范数是第一步的几倍", "en": "largest norm of the run over the first"},
    "healthy_growth": {"zh": "健康网络：最大是第一步的几倍", "en": "healthy net: largest over the first"},
    "first_nonfinite_step": {"zh": "梯度首次不是有限数", "en": "gradient first not finite", "unit": "step"},
}
WORDS = {
    "signal, healthy": {"zh": "信号，健康网络", "en": "signal, healthy net"},
    "weights, healthy": {"zh": "权重，健康网络", "en": "weights, healthy net"},
    "signal": {"zh": "信号", "en": "signal"},
    "weights": {"zh": "权重", "en": "weights"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "gradient", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
INPUTS = 8


def run(
    case: Literal["healthy", "weights", "sum", "rate"] = "weights",
    act: Literal["relu", "tanh"] = "relu",
    layers: int = 12,
    width: int = 32,
    batch: int = 64,
    factor: float = 2.0,
    lr: float = 1.0,
    n: int = 30,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(batch, INPUTS)
    y = x[:, :1] + x[:, 1:2]
    sizes = [INPUTS, *[width] * (layers - 1), 1]
    gain = math.sqrt(2) if act == "relu" else 1.0
    start = [torch.randn(a, b) * gain / math.sqrt(a) for a, b in pairwise(sizes)]
    norms: dict[str, tuple[list[float], list[float]]] = {}
    totals: dict[str, list[float]] = {}
    for name in dict.fromkeys(("healthy", case)):
        weights = [(factor if name == "weights" else 1.0) * w for w in start]
        rate = lr if name == "rate" else 0.01
        norms[name] = gradient_norms(x, y, weights, act, summed=name == "sum")
        totals[name] = train(x, y, weights, act, rate, n, summed=name == "sum")
        of = ", healthy" if name == "healthy" else ""
        for layer in range(1, layers):
            yield {"layer": layer, "series": f"weights{of}", "gradient": norms[name][0][layer - 1]}
            yield {"layer": layer, "series": f"signal{of}", "gradient": norms[name][1][layer - 1]}
    return {
        "total_norm": totals[case][0],
        "healthy_norm": totals["healthy"][0],
        "over_healthy": ratio(totals[case][0], totals["healthy"][0]),
        "signal_factor": layer_factor(norms[case][1][1:]),
        "weight_factor": layer_factor(norms[case][0][1:-1]),
        "healthy_signal_factor": layer_factor(norms["healthy"][1][1:]),
        "growth": largest(totals[case]),
        "healthy_growth": largest(totals["healthy"]),
        "first_nonfinite_step": next((i for i, total in enumerate(totals[case]) if not math.isfinite(total)), None),
    }


def loss_of(x: Tensor, y: Tensor, weights: list[Tensor], act: str, summed: bool) -> tuple[Tensor, list[Tensor]]:
    """The loss, and h_1 … h_{L−1}."""
    hidden = [x]
    for w in weights[:-1]:
        z = hidden[-1] @ w
        hidden.append(z.relu() if act == "relu" else z.tanh())
    errors = (hidden[-1] @ weights[-1] - y).pow(2)
    return errors.sum() if summed else errors.mean(), hidden[1:]


def gradient_norms(
    x: Tensor, y: Tensor, start: list[Tensor], act: str, summed: bool
) -> tuple[list[float], list[float]]:
    """‖∂L/∂W_1‖ … ‖∂L/∂W_L‖ and ‖∂L/∂h_1‖ … ‖∂L/∂h_{L−1}‖."""
    weights = [w.clone().requires_grad_() for w in start]
    loss, hidden = loss_of(x, y, weights, act, summed)
    norms = [g.double().norm().item() for g in torch.autograd.grad(loss, [*weights, *hidden])]
    return norms[: len(weights)], norms[len(weights) :]


def train(x: Tensor, y: Tensor, start: list[Tensor], act: str, lr: float, n: int, summed: bool) -> list[float]:
    """The total norm of every step, up to the first that is not finite."""
    weights = [w.clone().requires_grad_() for w in start]
    totals: list[float] = []
    for _ in range(n):
        loss, _ = loss_of(x, y, weights, act, summed)
        grads = torch.autograd.grad(loss, weights)
        totals.append(math.sqrt(sum(float(g.double().pow(2).sum()) for g in grads)))
        if not math.isfinite(totals[-1]):
            break
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w.sub_(lr * g)
    return totals


def layer_factor(norms: list[float]) -> float | None:
    """The factor per layer on the way back; None where a gradient is 0."""
    if len(norms) < 2 or not norms[0] or not norms[-1]:
        return None
    return float((norms[0] / norms[-1]) ** (1 / (len(norms) - 1)))


def largest(totals: list[float]) -> float | None:
    """The largest norm of the run over that of its first step; inf or nan count as inf."""
    return ratio(max(total if math.isfinite(total) else math.inf for total in totals), totals[0])


def ratio(a: float, b: float) -> float | None:
    """The quotient a/b; None where b is 0."""
    return a / b if b else None


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
