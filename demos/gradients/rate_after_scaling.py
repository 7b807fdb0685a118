"""Inputs divided by s need s² times the learning rate of SGD, s times that of Adam, for the very same training.

Linear regression from zero weights: 64 samples of 8 features x ~ N(0, 1), y = x·w + 0.1·N(0, 1), mean squared error,
`n` full-batch steps, float64. The inputs as they came are s·x ("raw"); then they are divided by s ("normalised").
Predictions are unchanged by w → s·w. SGD's gradient in the new weights is 1/s of the old one, so that a step of equal
effect takes s² times the rate; Adam's step does not depend on the gradient's size and takes s times the rate.
Three runs from the same start:

raw     inputs s·x, learning rate `lr`
same    inputs x, the same learning rate
scaled  inputs x, learning rate lr·s^power

Losses are divided by the loss at the start. limit: 2/λ of the largest curvature, beyond which SGD diverges. Adam:
β = (0.9, 0.999), ε = 1e-12, far below any gradient. Random: features, w, noise.
Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, 4.3 and 4.7.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "输入归一化前后的学习率", "en": "Learning rate before and after normalising the inputs"}
PARAMS = {
    "scale": {"zh": "归一化前输入是几倍大", "en": "how many times larger inputs were before", "ge": 1, "le": 1e4},
    "lr": {"zh": "原来的学习率", "en": "learning rate before", "ge": 1e-12, "le": 1},
    "power": {
        "zh": "学习率乘 scale 的几次方",
        "en": "power of the scale that the rate is multiplied by",
        "ge": 0,
        "le": 3,
    },
    "optimiser": {"zh": "优化器", "en": "optimiser"},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "raw": {"zh": "原来的输入", "en": "raw inputs"},
    "same": {"zh": "归一化，学习率不变", "en": "normalised, same rate"},
    "scaled": {"zh": "归一化，学习率放大", "en": "normalised, larger rate"},
}
METRICS = {
    "end_raw": {"zh": "剩下的损失，原来的输入", "en": "loss left, raw inputs"},
    "end_same": {"zh": "剩下的损失，归一化，学习率不变", "en": "loss left, normalised, same rate"},
    "end_scaled": {"zh": "剩下的损失，归一化，学习率放大", "en": "loss left, normalised, larger rate"},
    "apart": {"zh": "放大学习率后与原来的轨迹最多差几分之几", "en": "largest relative distance of scaled from raw"},
    "factor": {"zh": "学习率的倍数", "en": "factor of the rate"},
    "steps_raw": {"zh": "损失降到 5% 的步数，原来的输入", "en": "steps to 5 % of the loss, raw inputs", "unit": "step"},
    "steps_scaled": {
        "zh": "损失降到 5% 的步数，归一化，学习率放大",
        "en": "steps to 5 % of the loss, normalised, larger rate",
        "unit": "step",
    },
    "limit_raw": {"zh": "SGD 学习率的上限，原来的输入", "en": "largest stable rate of SGD, raw inputs"},
    "limit_normalised": {"zh": "SGD 学习率的上限，归一化", "en": "largest stable rate of SGD, normalised"},
}
CHART = {
    "transform": [{"fold": ["raw", "same", "scaled"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    scale: float = 30.0, lr: float = 1e-4, power: float = 2.0, optimiser: Literal["sgd", "adam"] = "sgd", n: int = 200
) -> Generator[Row, None, Metrics]:
    x, w, noise = (torch.randn(*shape, dtype=torch.float64) for shape in ((64, 8), (8,), (64,)))
    y = x @ w + 0.1 * noise
    factor = scale**power
    found = {
        "raw": losses(scale * x, y, lr, optimiser, n),
        "same": losses(x, y, lr, optimiser, n),
        "scaled": losses(x, y, lr * factor, optimiser, n),
    }
    for step in range(0, n + 1, max(n // 60, 1)):
        yield {"step": step} | {name: line[step] for name, line in found.items()}
    limit = 1 / torch.linalg.eigvalsh(x.T @ x / len(x))[-1].item()
    return {
        "end_raw": found["raw"][-1],
        "end_same": found["same"][-1],
        "end_scaled": found["scaled"][-1],
        "apart": max(map(relative, found["raw"], found["scaled"])),
        "factor": factor,
        "steps_raw": steps_to(0.05, found["raw"]),
        "steps_scaled": steps_to(0.05, found["scaled"]),
        "limit_raw": limit / scale**2,
        "limit_normalised": limit,
    }


def relative(expected: float, found: float) -> float:
    return abs(found / expected - 1) if math.isfinite(found) and math.isfinite(expected) else math.inf


def steps_to(share: float, line: list[float]) -> int | None:
    """The first step with no more than this share of the loss left; None if there is none."""
    return next((step for step, loss in enumerate(line) if loss <= share), None)


def losses(x: Tensor, y: Tensor, lr: float, optimiser: Literal["sgd", "adam"], n: int) -> list[float]:
    """The loss before each of n steps and after the last, over the first one."""
    hessian, slope, offset = 2 * (x.T @ x) / len(x), 2 * (x.T @ y) / len(x), y.square().mean().item()
    w, m, v = (torch.zeros(x.shape[1], dtype=torch.float64) for _ in range(3))
    found = []
    for t in range(1, n + 2):
        curved = hessian @ w
        found.append(((curved / 2 - slope) @ w).item() / offset + 1)
        gradient = curved - slope
        if optimiser == "sgd":
            w = w - lr * gradient
            continue
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient * gradient
        w = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-12)
    return found


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
