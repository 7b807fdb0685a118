"""Two trainings that differ by rounding agree to six digits at first; other data, weights or dropout differ at once.

A net of 10-64-64-1 units, ReLU, dropout 0.1 after the second layer, learns the sign of a quadratic form on 256 samples
in float32, by SGD with momentum 0.9 and `lr` on batches of 32, cross-entropy, `n` steps. A second run differs in:

nothing  not at all
order    each batch has the same rows in another order, so sums are added in another order
data     the rows are drawn in another order, as by an unseeded loader
dropout  other dropout masks
init     other initial weights

Measured: the relative difference of the loss on a fixed batch, without dropout, before training (probe); of the
training losses and of the gradients at the first step; the first step at which the training losses differ by more than
1 %; and the mean relative difference over the last 20 steps. Theory: rounding enters at 2⁻²⁴ and grows by a factor a
step where the training is unstable, so a difference of order shows after log(10⁵)/log(factor) steps, any other at step
1; a difference of weights shows before. Random: everything that is drawn.
Source: Summers & Dinneen 2021, Nondeterminism and instability in neural network optimization.
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

TITLE = {"zh": "两次训练从哪一步分开", "en": "Where two runs part"}
PARAMS = {
    "cause": {"zh": "第二次训练有何不同", "en": "how the second run differs"},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 1},
    "n": {"zh": "步数", "en": "steps", "ge": 20, "le": 1200},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "第一次的损失", "en": "loss of the first run"},
    "gap": {"zh": "两次损失的相对差", "en": "relative difference of the losses"},
}
METRICS = {
    "probe": {"zh": "训练前固定批的损失相对差", "en": "difference on a fixed batch before training"},
    "first": {"zh": "第 1 步损失的相对差", "en": "difference of the losses at step 1"},
    "gradient": {"zh": "第 1 步梯度的相对差", "en": "difference of the gradients at step 1"},
    "visible": {"zh": "损失差首次超过 1% 的步", "en": "first step with losses 1 % apart", "unit": "step"},
    "end": {"zh": "最后 20 步的平均相对差", "en": "mean difference over the last 20 steps"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "gap", "type": "quantitative", "scale": {"type": "log"}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SAMPLES, BATCH, UNITS = 256, 32, (10, 64, 64, 1)


def run(
    cause: Literal["nothing", "order", "data", "dropout", "init"] = "order", lr: float = 0.1, n: int = 600
) -> Generator[Row, None, Metrics]:
    inputs, form = torch.randn(SAMPLES, UNITS[0]), torch.randn(UNITS[0], UNITS[0])
    labels = ((inputs @ form * inputs).sum(1) > 0).float()
    first = initial()
    runs = [first, initial() if cause == "init" else [value.clone() for value in first]]
    momenta = [[torch.zeros_like(value) for value in weights] for weights in runs]
    probe = [cross_entropy(forward(w, inputs, None), labels).item() for w in runs]
    found: Metrics = {"probe": apart(*probe), "visible": None}
    gaps: list[float] = []
    for step in range(1, n + 1):
        rows, masks = torch.randint(SAMPLES, (BATCH,)), dropout()
        drawn = [(rows, masks), (rows, masks)]
        if cause == "order":
            turned = torch.randperm(BATCH)
            drawn[1] = rows[turned], masks[turned]
        elif cause == "data":
            drawn[1] = torch.randint(SAMPLES, (BATCH,)), masks
        elif cause == "dropout":
            drawn[1] = rows, dropout()
        losses, gradients = [], []
        for weights, momentum, (chosen, mask) in zip(runs, momenta, drawn, strict=True):
            leaves = [value.requires_grad_() for value in weights]
            loss = cross_entropy(forward(leaves, inputs[chosen], mask), labels[chosen])
            gradient = torch.autograd.grad(loss, leaves)
            losses.append(loss.item())
            if step == 1:
                gradients.append(torch.cat([value.flatten() for value in gradient]).double())
            with torch.no_grad():
                for value, velocity, slope in zip(weights, momentum, gradient, strict=True):
                    velocity.mul_(0.9).add_(slope)
                    value.sub_(lr * velocity)
        gaps.append(apart(*losses))
        if step == 1:
            difference = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
            found |= {"first": gaps[0], "gradient": difference.item()}
        if found["visible"] is None and gaps[-1] > 0.01:
            found["visible"] = step
        yield {"step": step, "loss": losses[0], "gap": gaps[-1]}
    return {**found, "end": sum(gaps[-20:]) / 20}


def initial() -> list[Tensor]:
    """He weights and zero biases."""
    return [v for i, o in pairwise(UNITS) for v in (torch.randn(i, o) * (2 / i) ** 0.5, torch.zeros(o))]


def dropout() -> Tensor:
    """Masks for a batch: kept units have 1/0.9."""
    return (torch.rand(BATCH, UNITS[2]) < 0.9) / 0.9


def forward(weights: list[Tensor], x: Tensor, mask: Tensor | None) -> Tensor:
    x = torch.relu(x @ weights[0] + weights[1])
    x = torch.relu(x @ weights[2] + weights[3])
    x = x if mask is None else x * mask
    return (x @ weights[4] + weights[5]).squeeze(1)


def apart(a: float, b: float) -> float:
    """|a − b| over the larger of the two; 1 if one is not finite and the other is."""
    if a == b:
        return 0.0
    found = abs(a - b) / max(abs(a), abs(b))
    return 1.0 if math.isnan(found) else found


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
