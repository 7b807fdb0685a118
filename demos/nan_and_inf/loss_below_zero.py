"""A density may exceed 1 and its loss be negative; cross-entropy and CTC are negative only if fed the wrong thing.

Each case is trained by full-batch gradient descent at rate `lr` for `n` steps; beside it, the loss as it should be.

density  −log of a normal density of mean 0 and learned log-variance, from 0, for 256 numbers of mean 0 and standard
         deviation `sd`. The least possible loss is ln(sd·√(2πe)), below 0 for sd < 0.242. beside: the same model of the
         same numbers times 100, whose loss is larger by ln 100 and says the same
scores   nll_loss of raw scores, log-softmax forgotten: linear in the scores, without a minimum. beside: cross_entropy
softmax  nll_loss of probabilities, the log forgotten: between −1 and 0. beside: cross_entropy
ctc      ctc_loss of raw scores, log-softmax forgotten. Scores of 0 count as probabilities of 1, the sum over all
         alignments exceeds 1, and its −log is negative from the start; PyTorch's gradient takes log-probabilities for
         granted and is wrong here. beside: of their log-softmax
target   binary cross-entropy on logits with targets 0 and 255 (a mask that was not divided by 255): for a target above
         1 it falls without end as the logit grows. beside: targets divided by 255

scores, softmax, target: 256 samples x ~ N(0, 1) in 4 dimensions, a linear layer from 0, three classes (two for target)
given by the largest of fixed random projections. ctc: 4 sequences of 12 frames, N(0, 1) features in 4 dimensions, a
linear layer from 0 to 4 symbols with the blank, targets of 3 symbols. Random: data.
Source: Graves et al. 2006, Connectionist temporal classification; Bishop 2006, Pattern recognition, section 1.2.4.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    ctc_loss,
    nll_loss,
)

TITLE = {"zh": "负的损失：哪些正常，哪些是用错了", "en": "Negative losses: the normal ones and the mistakes"}
PARAMS = {
    "case": {"zh": "哪种损失", "en": "which loss"},
    "sd": {"zh": "数据的标准差（density）", "en": "standard deviation of the data (density)", "ge": 1e-3, "le": 100},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 1000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "beside": {"zh": "正确写法（density：数据乘 100）", "en": "as it should be (density: data times 100)"},
}
METRICS = {
    "start": {"zh": "第一步的损失", "en": "loss of the first step"},
    "end": {"zh": "最后的损失", "en": "loss at the end"},
    "beside_end": {"zh": "正确写法最后的损失", "en": "loss at the end, as it should be"},
    "beside_lowest": {"zh": "正确写法的最低损失", "en": "lowest loss, as it should be"},
    "negative_share": {"zh": "损失为负的步的比例", "en": "fraction of steps with a negative loss"},
    "theory_floor": {"zh": "损失的理论下限", "en": "lower bound of the loss, theory"},
}
CHART = {
    "transform": [{"fold": ["loss", "beside"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
Loss = Callable[[Tensor], Tensor]


def run(
    case: Literal["density", "scores", "softmax", "ctc", "target"] = "ctc",
    sd: float = 0.05,
    lr: float = 0.1,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    wrong, right, shape = losses(case, sd)
    pairs = [(torch.zeros(shape, requires_grad=True), loss) for loss in (wrong, right)]
    rows: list[Row] = []
    for step in range(1, n + 1):
        values = [descend(weight, loss, lr) for weight, loss in pairs]
        rows.append({"step": step, "loss": values[0], "beside": values[1]})
        yield rows[-1]
    floors = {"density": math.log(sd * math.sqrt(2 * math.pi * math.e)), "softmax": -1.0}
    return {
        "start": rows[0]["loss"],
        "end": rows[-1]["loss"],
        "beside_end": rows[-1]["beside"],
        "beside_lowest": min(row["beside"] for row in rows),
        "negative_share": sum(row["loss"] < 0 for row in rows) / len(rows),
        "theory_floor": floors.get(case, -math.inf),
    }


def descend(weight: Tensor, loss: Loss, lr: float) -> float:
    """The loss before one step of gradient descent, which changes the weight."""
    value = loss(weight)
    (gradient,) = torch.autograd.grad(value, weight)
    with torch.no_grad():
        weight.sub_(lr * gradient)
    return float(value.item())


def losses(case: str, sd: float) -> tuple[Loss, Loss, tuple[int, ...]]:
    """The loss of the case, the one beside it, and the shape of the weight of both."""
    if case == "density":
        data = sd * standardised(torch.randn(256))
        return gaussian(data), lambda weight: gaussian(data)(weight) + math.log(100), (1,)
    if case == "ctc":
        return *sequences(), (4, 4)
    x, classes = torch.randn(256, 4), 2 if case == "target" else 3
    y = (x @ torch.randn(4, classes)).argmax(1)
    if case == "target":
        mask = y.float()
        return (
            lambda weight: binary_cross_entropy_with_logits((x @ weight).squeeze(1), 255 * mask),
            lambda weight: binary_cross_entropy_with_logits((x @ weight).squeeze(1), mask),
            (4, 1),
        )
    wrong: Loss = (
        (lambda weight: nll_loss(x @ weight, y))
        if case == "scores"
        else (lambda weight: nll_loss((x @ weight).softmax(1), y))
    )
    return wrong, lambda weight: cross_entropy(x @ weight, y), (4, 3)


def standardised(numbers: Tensor) -> Tensor:
    """With mean 0 and standard deviation 1 (n in the denominator)."""
    return (numbers - numbers.mean()) / numbers.std(correction=0)


def gaussian(data: Tensor) -> Loss:
    """The mean of −log N(data; 0, variance) in the log-variance."""

    def loss(log_variance: Tensor) -> Tensor:
        return 0.5 * (log_variance + data.square() / log_variance.exp() + math.log(2 * math.pi)).mean()

    return loss


def sequences() -> tuple[Loss, Loss]:
    """The CTC loss of raw scores and that of their log-softmax, in the weight of a linear layer."""
    features, targets = torch.randn(12, 4, 4), torch.randint(1, 4, (4, 3))
    frames, lengths = torch.full((4,), 12), torch.full((4,), 3)
    return (
        lambda weight: ctc_loss(features @ weight, targets, frames, lengths),
        lambda weight: ctc_loss((features @ weight).log_softmax(2), targets, frames, lengths),
    )


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
