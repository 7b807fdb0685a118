"""More GPUs, same samples: SGD needs a rate in proportion to the batch, Adam its square root, and both have an end.

256 copies of a quadratic loss ½Σλᵢwᵢ², 8 directions with λ from 0.05 to 1, w = 3 at the start. A gradient over a batch
has noise N(0, `noise`²/k) in each direction, k being the number of GPUs. Whatever k, the same number of samples is
used: `n`/k steps. The rate `lr` of one GPU is kept (same), multiplied by √k (root) or by k (linear); `optimizer` is
SGD or Adam (betas 0.9, 0.999).

Measured for k = 1, 2, 4, … up to `ranks`: the mean loss at the end. Theory for SGD: E wᵢ² follows m ← (1 − lr·λ)²m +
lr²·noise²/k, so that n/k steps of k·lr do what n steps of lr do, as long as lr·k·λ is well below 2; beyond, the loss
explodes. Adam divides by the size of the gradient, which falls like 1/√k where it is mostly noise. Random: the noise.
Source: Goyal et al. 2017, Accurate, large minibatch SGD; Malladi et al. 2022, On the SDEs and scaling rules for Adam.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "学习率随 GPU 数怎样变", "en": "Learning rate and the number of GPUs"}
PARAMS = {
    "optimizer": {"zh": "优化器", "en": "optimiser"},
    "lr": {"zh": "单卡的学习率", "en": "rate of one GPU", "ge": 1e-5, "le": 1},
    "ranks": {"zh": "最多几张卡", "en": "largest number of GPUs", "ge": 2, "le": 256},
    "noise": {"zh": "单卡梯度的噪声", "en": "noise of the gradient on one GPU", "ge": 0.01, "le": 100},
    "n": {"zh": "单卡的步数", "en": "steps with one GPU", "unit": "step", "ge": 256, "le": 2048},
}
COLUMNS = {
    "ranks": {"zh": "卡数", "en": "number of GPUs"},
    "same": {"zh": "学习率不变：损失", "en": "same rate: loss"},
    "root": {"zh": "学习率乘 √k：损失", "en": "rate times √k: loss"},
    "linear": {"zh": "学习率乘 k：损失", "en": "rate times k: loss"},
}
METRICS = {
    "one": {"zh": "单卡：最后的损失", "en": "one GPU: loss at the end"},
    "same": {"zh": "学习率不变：损失", "en": "same rate: loss"},
    "root": {"zh": "学习率乘 √k：损失", "en": "rate times √k: loss"},
    "linear": {"zh": "学习率乘 k：损失", "en": "rate times k: loss"},
    "same_ratio": {"zh": "学习率不变：与单卡之比", "en": "same rate: over that of one GPU"},
    "root_ratio": {"zh": "学习率乘 √k：与单卡之比", "en": "rate times √k: over that of one GPU"},
    "linear_ratio": {"zh": "学习率乘 k：与单卡之比", "en": "rate times k: over that of one GPU"},
    "limit": {"zh": "SGD 线性规则的极限卡数", "en": "number of GPUs at which SGD's linear rule diverges"},
}
CHART = {
    "transform": [{"fold": ["same", "root", "linear"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "ranks", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
COPIES, CURVATURE = 256, torch.logspace(math.log10(0.05), 0, 8)
POWERS = {"same": 0.0, "root": 0.5, "linear": 1.0}


def run(
    optimizer: Literal["sgd", "adam"] = "sgd", lr: float = 0.01, ranks: int = 32, noise: float = 1.0, n: int = 1024
) -> Generator[Row, None, Metrics]:
    train = sgd if optimizer == "sgd" else adam
    count, one = 1, 0.0
    while True:
        rates = torch.tensor([lr * count**power for power in POWERS.values()])[:, None, None]
        final = train(rates, noise / math.sqrt(count), n // count)
        losses = dict(zip(POWERS, final, strict=True))
        one = one or losses["same"]
        yield {"ranks": count, **losses}
        if count == ranks:
            break
        count = min(2 * count, ranks)
    return {
        "one": one,
        **losses,
        **{f"{rule}_ratio": loss / one for rule, loss in losses.items()},
        "limit": 2 / (lr * CURVATURE.max().item()),
    }


def noisy_gradient(weights: Tensor, noise: float) -> Tensor:
    """The gradient of every copy with noise of this standard deviation."""
    return CURVATURE * weights + noise * torch.randn(weights.shape)


def sgd(rates: Tensor, noise: float, steps: int) -> list[float]:
    """The mean loss after `steps` steps of SGD, for each rate of (rates, 1, 1)."""
    weights = torch.full((len(rates), COPIES, 8), 3.0)
    for _ in range(steps):
        weights = weights - rates * noisy_gradient(weights, noise)
    return mean_losses(weights)


def adam(rates: Tensor, noise: float, steps: int) -> list[float]:
    """The same for Adam with bias correction."""
    weights = torch.full((len(rates), COPIES, 8), 3.0)
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    for step in range(1, steps + 1):
        gradient = noisy_gradient(weights, noise)
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        size = second.sqrt().div_(math.sqrt(1 - 0.999**step)).add_(1e-8)
        weights = weights - rates / (1 - 0.9**step) * first / size
    return mean_losses(weights)


def mean_losses(weights: Tensor) -> list[float]:
    """½Σλw², averaged over the copies, for each rate."""
    losses: list[float] = ((CURVATURE * weights.double().square()).sum(2).mean(1) / 2).tolist()
    return losses


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
