"""With Adam the best rate falls as a net gets wider; rates of hidden layers divided by width, as in muP, carry over.

A net 16 - w - w - 1, ReLU, no biases, is fitted to 64 points x ~ N(0, 1) of a fixed random net by `n` full-batch steps
of Adam, for 9 rates from 2⁻¹² to 2⁻⁴. Widths: 32 and 32·`factor`. standard: weights of variance 2/fan_in, the last
1/w; one rate for all. mup: the same at width 32; at 32·factor the last layer's variance is divided by factor once
more, and the rates of the middle and of the last layer are divided by factor.

Measured: the loss at the end for every rate, the best rates, and how much one step at the base's best rate changes the
output, in rms. Theory: an Adam step moves each weight by the rate, and w of them act together on the next layer: the
change grows in proportion to w unless the rate falls like 1/w. Random: weights and data.
Source: Yang et al. 2022, Tensor programs V: tuning large neural networks via zero-shot hyperparameter transfer.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "学习率能否随宽度照搬（muP）", "en": "Does a learning rate carry over to wider nets (muP)"}
PARAMS = {
    "factor": {"zh": "宽网络是窄网络的几倍", "en": "wide net over narrow net", "ge": 1, "le": 8},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 5, "le": 30},
}
COLUMNS = {
    "rate": {"zh": "学习率", "en": "learning rate"},
    "narrow": {"zh": "宽 32：损失", "en": "width 32: loss"},
    "standard": {"zh": "宽，同一学习率：损失", "en": "wide, one rate: loss"},
    "mup": {"zh": "宽，muP：损失", "en": "wide, muP: loss"},
}
METRICS = {
    "best_narrow": {"zh": "宽 32：最好的学习率", "en": "width 32: best rate"},
    "best_standard": {"zh": "宽，同一学习率：最好的学习率", "en": "wide, one rate: best rate"},
    "best_mup": {"zh": "宽，muP：最好的学习率", "en": "wide, muP: best rate"},
    "loss_narrow": {"zh": "宽 32：用最好的学习率，损失", "en": "width 32: loss at its best rate"},
    "loss_standard": {"zh": "宽，同一学习率，照搬：损失", "en": "wide, one rate carried over: loss"},
    "loss_mup": {"zh": "宽，muP，照搬：损失", "en": "wide, muP carried over: loss"},
    "change_narrow": {"zh": "宽 32：一步改变的输出", "en": "width 32: change of the output in a step"},
    "change_standard": {"zh": "宽，同一学习率：一步改变的输出", "en": "wide, one rate: change of the output"},
    "change_mup": {"zh": "宽，muP：一步改变的输出", "en": "wide, muP: change of the output"},
    "growth_standard": {"zh": "一步的改变：宽比窄（同一学习率）", "en": "change in a step, wide over narrow, one rate"},
    "growth_mup": {"zh": "一步的改变：宽比窄（muP）", "en": "change in a step, wide over narrow, muP"},
}
CHART = {
    "transform": [{"fold": ["narrow", "standard", "mup"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "rate", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
RATES, BASE = [2.0**power for power in range(-12, -3)], 32


def run(factor: int = 8, n: int = 20) -> Generator[Row, None, Metrics]:
    x = torch.randn(64, 16)
    y = forward([layer.double() for layer in weights_of(64, 1)], x.double()).float()
    y = y / y.square().mean().sqrt()
    nets = {"narrow": (BASE, 1), "standard": (BASE * factor, 1), "mup": (BASE * factor, factor)}
    starts = {name: weights_of(width, down) for name, (width, down) in nets.items()}
    changes: dict[str, list[float]] = {name: [] for name in nets}
    losses: dict[str, list[float]] = {name: [] for name in nets}
    for rate in RATES:
        for name, (_, down) in nets.items():
            loss, change = train(starts[name], x, y, rate, down, n)
            losses[name].append(loss)
            changes[name].append(change)
        yield {"rate": rate, **{name: losses[name][-1] for name in nets}}
    best = {name: min(range(len(RATES)), key=lambda index: sortable(losses[name][index])) for name in nets}
    carried = best["narrow"]
    return {
        **{f"best_{name}": RATES[best[name]] for name in nets},
        **{f"loss_{name}": losses[name][carried] for name in nets},
        **{f"change_{name}": changes[name][carried] for name in nets},
        "growth_standard": changes["standard"][carried] / changes["narrow"][carried],
        "growth_mup": changes["mup"][carried] / changes["narrow"][carried],
    }


def sortable(loss: float) -> float:
    """The loss, a nan last."""
    return loss if math.isfinite(loss) else math.inf


def weights_of(width: int, down: int) -> list[Tensor]:
    """The three weight matrices, the last of variance 1/(width·down)."""
    return [
        torch.randn(width, 16) * math.sqrt(2 / 16),
        torch.randn(width, width) * math.sqrt(2 / width),
        torch.randn(1, width) / math.sqrt(width * down),
    ]


def forward(weights: list[Tensor], x: Tensor) -> Tensor:
    """The output, (samples, 1)."""
    return torch.relu(torch.relu(x @ weights[0].T) @ weights[1].T) @ weights[2].T


def train(start: list[Tensor], x: Tensor, y: Tensor, rate: float, down: int, steps: int) -> tuple[float, float]:
    """The loss after `steps` steps of Adam, and the rms change of the output by the first."""
    weights = [layer.clone().requires_grad_() for layer in start]
    groups = [{"params": [layer], "lr": rate / (1 if index == 0 else down)} for index, layer in enumerate(weights)]
    optimizer = torch.optim.Adam(groups, fused=True)
    before, change = forward(start, x), 0.0
    for step in range(steps):
        loss = (forward(weights, x) - y).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step == 0:
            with torch.no_grad():
                change = float((forward(weights, x) - before).double().square().mean().sqrt())
    with torch.no_grad():
        return float((forward(weights, x) - y).double().square().mean()), change


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
