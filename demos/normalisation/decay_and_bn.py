"""Weight decay before batch norm restricts nothing: it raises the effective rate until the loss jumps late in training.

A linear layer of 16 inputs followed by batch norm without γ and β, fitted to the output of another such layer: 256
samples, mean squared error, full-batch gradient descent of `lr` with weight decay `decay` for `n` steps, `schedule`
being a constant rate or a cosine down to 0; the weights start at norm 1.

Measured: the loss, the norm of the weights and the effective rate, the rate over ‖W‖²; jumps are steps after the first
tenth of training whose loss is above 0.001 and a thousand times the median since then. Theory: the output does not
depend on ‖W‖, gradients are perpendicular to W and proportional to 1/‖W‖; without decay ‖W‖ only grows. With it, and
gradients near 0, ‖W‖ falls by 1 − lr·decay a step, so the effective rate grows until it exceeds what the curvature
allows; the step is then thrown far out, ‖W‖ grows at once, and the cycle starts again. Random: data and weights.
Source: van Laarhoven 2017, L2 regularization versus batch and weight normalization; Lobacheva et al. 2021, On the
periodic behavior of neural network training with batch normalization and weight decay.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "权重衰减与批量归一化", "en": "Weight decay and batch normalisation"}
PARAMS = {
    "lr": {"zh": "开始的学习率", "en": "learning rate at the start", "ge": 1e-3, "le": 5},
    "decay": {"zh": "权重衰减", "en": "weight decay", "ge": 0, "le": 0.1},
    "schedule": {"zh": "学习率", "en": "schedule of the rate"},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 500, "le": 12000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失（这段的最大值）", "en": "loss, largest of the interval"},
    "rate": {"zh": "有效学习率", "en": "effective rate"},
}
METRICS = {
    "jumps": {"zh": "后期跳起的步数", "en": "late steps at which the loss is high", "unit": "step"},
    "first_jump": {"zh": "第一次跳起的步", "en": "first jump", "unit": "step"},
    "worst": {"zh": "后期最大的损失", "en": "largest late loss"},
    "median": {"zh": "后期损失的中位数", "en": "median of the late loss"},
    "norm_start": {"zh": "开始时的权重范数", "en": "norm of the weights at the start"},
    "norm_end": {"zh": "最后的权重范数", "en": "norm of the weights at the end"},
    "rate_start": {"zh": "开始时的有效学习率", "en": "effective rate at the start"},
    "rate_least": {"zh": "最小的有效学习率", "en": "smallest effective rate"},
    "rate_growth": {"zh": "有效学习率后期最大与最小之比", "en": "largest late effective rate over the smallest"},
    "rate_largest": {"zh": "后期最大的有效学习率", "en": "largest late effective rate"},
}
CHART = {
    "transform": [{"fold": ["loss", "rate"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SAMPLES, INPUTS = 256, 16


def run(
    lr: float = 0.3, decay: float = 0.001, schedule: Literal["constant", "cosine"] = "constant", n: int = 8000
) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, INPUTS, dtype=torch.float64)
    x = x - x.mean(0)
    target = normalised(x @ torch.randn(INPUTS, dtype=torch.float64))[0]
    weight = torch.randn(INPUTS, dtype=torch.float64)
    weight = weight / weight.norm()
    losses, rates, worst = [], [], 0.0
    for step in range(1, n + 1):
        loss, gradient = loss_and_gradient(weight, x, target)
        losses.append(loss)
        rate = lr * (1 + math.cos(math.pi * step / n)) / 2 if schedule == "cosine" else lr
        rates.append(rate / float(weight.square().sum()))
        worst = max(worst, loss)
        weight = weight - rate * (gradient + decay * weight)
        if step % (n // 100) == 0:
            yield {"step": step, "loss": worst, "rate": rates[-1]}
            worst = 0.0
    late = torch.tensor(losses[n // 10 :])
    median = float(late.median())
    high = (late > max(1000 * median, 0.001)).nonzero().flatten().tolist()
    return {
        "jumps": len(high),
        "first_jump": high[0] + n // 10 + 1 if high else None,
        "worst": float(late.max()),
        "median": median,
        "norm_start": 1.0,
        "norm_end": float(weight.norm()),
        "rate_start": rates[0],
        "rate_least": min(rates),
        "rate_growth": max(rates[n // 10 :]) / min(rates[: n // 2]),
        "rate_largest": max(rates[n // 10 :]),
    }


def normalised(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values of mean 0 over their rms, and the rms."""
    rms = values.square().mean().sqrt()
    return values / rms, rms


def loss_and_gradient(weight: Tensor, x: Tensor, target: Tensor) -> tuple[float, Tensor]:
    """Half the mean squared error of the normalised output, and its gradient with respect to the weights."""
    output, rms = normalised(x @ weight)
    error = (output - target) / len(x)
    loss = float((output - target).square().mean()) / 2
    return loss, x.T @ (error - output * (output @ error) / len(x)) / rms


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
