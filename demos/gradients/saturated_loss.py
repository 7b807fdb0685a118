"""A confidently wrong sigmoid gets almost no gradient from the squared error, nearly −1 from cross-entropy.

One unit p = σ(z) with target 1. Squared error (p − 1)², no ½; cross-entropy −ln p. Both gradients with respect to z
by autograd in float64 at z = `x`. Then gradient descent on z itself, z ← z − lr·dL/dz, n steps, once with each loss;
the step is noted at which p first exceeds 0.9 (None: not within n steps).

Theory: d(p−1)²/dz = 2(p−1)·p(1−p); the slope p(1−p) of the sigmoid stands in it as a factor and is about e^z for very
negative z. Cross-entropy's gradient is p − 1: the 1/p of the logarithm cancels it. The quotient is 1/(2p(1−p)).
Source: Glorot, Bordes & Bengio 2011; Goodfellow, Bengio & Courville 2016, Deep Learning.
"""

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import softplus

TITLE = {"zh": "饱和的 sigmoid：均方误差与交叉熵", "en": "A saturated sigmoid: squared error and cross-entropy"}
PARAMS = {
    "x": {"zh": "起始的 z（sigmoid 之前）", "en": "initial z, before the sigmoid", "ge": -300, "le": 300},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1000},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 5000},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "p_mse": {"zh": "输出 p，均方误差", "en": "output p, squared error"},
    "p_ce": {"zh": "输出 p，交叉熵", "en": "output p, cross-entropy"},
}
METRICS = {
    "grad_mse": {"zh": "均方误差对 z 的梯度", "en": "gradient of the squared error"},
    "grad_ce": {"zh": "交叉熵对 z 的梯度", "en": "gradient of the cross-entropy"},
    "theory_grad_mse": {"zh": "理论：2(p−1)p(1−p)", "en": "theory: 2(p−1)p(1−p)"},
    "theory_grad_ce": {"zh": "理论：p − 1", "en": "theory: p − 1"},
    "ratio": {"zh": "交叉熵的梯度是均方误差的多少倍", "en": "cross-entropy's gradient over squared error's"},
    "steps_mse": {"zh": "均方误差：到 p > 0.9 的步数", "en": "squared error: steps until p > 0.9", "unit": "step"},
    "steps_ce": {"zh": "交叉熵：到 p > 0.9 的步数", "en": "cross-entropy: steps until p > 0.9", "unit": "step"},
    "p_mse": {"zh": "均方误差：最后的 p", "en": "squared error: p at the end"},
    "p_ce": {"zh": "交叉熵：最后的 p", "en": "cross-entropy: p at the end"},
}
CHART = {
    "transform": [{"fold": ["p_mse", "p_ce"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
LOSSES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda z: torch.sigmoid(-z) ** 2,  # (p − 1)², without cancellation
    lambda z: softplus(-z, threshold=1e9),  # −ln p
)


def run(x: float = -10.0, lr: float = 1.0, n: int = 200) -> Generator[Row, None, Metrics]:
    start = torch.tensor(x, dtype=torch.float64)
    grad_mse, grad_ce = (gradient(loss, start) for loss in LOSSES)
    z = [start, start]
    reached: list[int | None] = [None, None]
    every = max(1, n // 100)
    for step in range(n + 1):
        p = [torch.sigmoid(one).item() for one in z]
        reached = [step if at is None and q > 0.9 else at for at, q in zip(reached, p, strict=True)]
        if step % every == 0 or step == n:
            yield {"step": step, "p_mse": p[0], "p_ce": p[1]}
        if step < n:
            z = [one - lr * gradient(loss, one) for one, loss in zip(z, LOSSES, strict=True)]
    right, wrong = 1 / (1 + math.exp(-x)), 1 / (1 + math.exp(x))
    return {
        "grad_mse": grad_mse.item(),
        "grad_ce": grad_ce.item(),
        "theory_grad_mse": -2 * wrong * right * wrong,
        "theory_grad_ce": -wrong,
        "ratio": (grad_ce / grad_mse).item(),
        "steps_mse": reached[0],
        "steps_ce": reached[1],
        "p_mse": p[0],
        "p_ce": p[1],
    }


def gradient(loss: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    leaf = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf), leaf)
    return slope


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
