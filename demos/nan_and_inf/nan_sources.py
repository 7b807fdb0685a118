"""One zero under a root, one empty mask, one bad number in the data, and every weight is nan: no learning rate helps.

A net 8 - 32 - 32 - outputs, ReLU, He initialisation, biases 0; 1024 samples N(0, 1) in 16 batches of 64, always in the
same order; `n` steps of plain gradient descent with `lr`, float32. Regression on x1·x2 (one output, mean squared error)
or classification by the sign of x1 (two outputs). Weights and data are random. Steps count from 0.

`cause` is the fault built in (and its repair, run beside it from the same start):
none             no fault
nan_input        one number of sample 500, in batch 7, is nan (samples with such numbers left out)
log_of_count     feature 1 is log(count), and the count of sample 500 is 0 (log(1 + count))
constant_column  feature 1 is the same in all samples and is divided by its deviation (deviation + eps)
log_of_zero      features in raw units, 100 times larger, and −log(softmax) written by hand (the fused loss)
sqrt_at_zero     the loss is the mean of √(error²), and one error is exactly 0 at the start (√(error² + eps))
empty_mask       each batch averages over its valid samples; batch 7 has none (divisor at least 1)
all_ignored      cross-entropy with ignore_index; in batch 7 every label is −100 (batch left out)
label_two        binary cross-entropy with labels 0 and 2 in place of 0 and 1; nothing is nan (labels 0 and 1)

Stages: 1 input, 2 forward pass, 3 loss, 4 gradient, 5 weights after the update. The rates tried are lr, lr/10, …,
lr/10^11 and 0, for one pass
over the data each. Source: IEEE 754-2019; Goldberg 1991.
"""

import math
from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

TITLE = {"zh": "学习率很小也出 nan：毛病在哪", "en": "Nan in spite of a small learning rate: where it comes from"}
PARAMS = {
    "cause": {"zh": "埋下的毛病", "en": "fault built in"},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1e6},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 300},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "repaired": {"zh": "修好以后的损失", "en": "loss after the repair"},
}
METRICS = {
    "first_bad_step": {"zh": "首次出现 inf 或 nan", "en": "first inf or nan", "unit": "step"},
    "first_bad_stage": {
        "zh": "最先坏在第几关（1 输入 … 5 权重）",
        "en": "stage that goes wrong first (1 input … 5 weights)",
    },
    "last_good_loss": {"zh": "坏掉之前的损失", "en": "last finite loss"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "bad_number_share": {"zh": "输入里非有限值的比例", "en": "fraction of the inputs that is not finite"},
    "nan_weight_share": {"zh": "最后是 nan 的权重的比例", "en": "fraction of the weights that is nan at the end"},
    "rates_that_help": {
        "zh": "13 个学习率（含 0）里不出 nan 的个数",
        "en": "of 13 rates, 0 included, how many stay finite",
    },
    "repaired_bad_step": {"zh": "修好以后首次 inf 或 nan", "en": "first inf or nan after the repair", "unit": "step"},
    "repaired_end": {"zh": "修好以后最后的损失", "en": "loss at the end after the repair"},
    "repaired_nan_share": {"zh": "修好以后 nan 权重的比例", "en": "fraction of nan weights after the repair"},
}
CHART = {
    "transform": [{"fold": ["loss", "repaired"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
State = tuple[int | None, float, list[Tensor]]  # stage that is not finite, loss, weights after the step
CLASSES = ("log_of_zero", "all_ignored", "label_two")
EPS = 1e-8


def run(
    cause: Literal[
        "none", "nan_input", "log_of_count", "constant_column", "log_of_zero", "sqrt_at_zero", "empty_mask",
        "all_ignored", "label_two",
    ] = "sqrt_at_zero",
    lr: float = 1e-5,
    n: int = 32,
) -> Generator[Row, None, Metrics]:  # fmt: skip
    x = torch.randn(1024, 8)
    sizes = [8, 32, 32, 2 if cause in CLASSES[:2] else 1]
    weights = [torch.randn(a, b) * math.sqrt(2 / a) for a, b in pairwise(sizes)]
    weights += [torch.zeros(size) for size in sizes[1:]]
    faulty, repaired = (prepared(x, cause, fixed) for fixed in (False, True))
    bad_step = bad_stage = repaired_bad = last_good = None
    runs = (train(data, weights, cause, fixed, lr, n) for data, fixed in ((faulty, False), (repaired, True)))
    for step, (own, other) in enumerate(zip(*runs, strict=True)):
        if bad_step is None and own[0] is not None:
            bad_step, bad_stage = step, own[0]
        if repaired_bad is None and other[0] is not None:
            repaired_bad = step
        if bad_step in (None, step) and math.isfinite(own[1]):
            last_good = own[1]
        yield {"step": step, "loss": own[1], "repaired": other[1]}
    rates = [lr / 10**power for power in range(12)] + [0.0]
    return {
        "first_bad_step": bad_step,
        "first_bad_stage": bad_stage,
        "last_good_loss": last_good,
        "loss_end": own[1],
        "bad_number_share": (~faulty.isfinite()).double().mean().item(),
        "nan_weight_share": nan_share(own[2]),
        "rates_that_help": sum(
            all(stage is None for stage, _, _ in train(faulty, weights, cause, False, rate, min(n, 16)))
            for rate in rates
        ),
        "repaired_bad_step": repaired_bad,
        "repaired_end": other[1],
        "repaired_nan_share": nan_share(other[2]),
    }


def prepared(x: Tensor, cause: str, fixed: bool) -> Tensor:
    """The features as the net gets them."""
    x = x.clone()
    match cause:
        case "nan_input":
            x[500, 2] = math.nan
        case "log_of_count":
            counts = (x[:, 0].exp() * 3).ceil()
            counts[500] = 0
            x[:, 0] = (counts + fixed).log()
        case "constant_column":
            x[:, 0] = 3.0
            spread = x.std(dim=0, correction=0)
            x = (x - x.mean(dim=0)) / (spread + EPS if fixed else spread)
        case "log_of_zero":
            x = 100 * x
    return x


def train(x: Tensor, start: list[Tensor], cause: str, fixed: bool, lr: float, n: int) -> Iterator[State]:
    """The state of each step; once a weight is nan nothing changes any more, and the rest is not computed."""
    weights = [w.clone().requires_grad_() for w in start]
    bad_weights = False
    for step in range(n):
        if bad_weights:
            yield 5, math.nan, weights
            continue
        batch = step % 16
        rows = torch.arange(64 * batch, 64 * batch + 64)
        if fixed and cause == "nan_input":
            rows = rows[x[rows].isfinite().all(dim=1)]
        out = forward(x[rows], weights)
        loss = loss_of(out, x[rows], cause, fixed, batch, step)
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, grad in zip(weights, grads, strict=True):
                w.sub_(lr * grad)
        stages = ([x[rows]], [out], [loss], grads, weights)
        bad = [not all(map(is_finite, tensors)) for tensors in stages]
        bad_weights = bad[4]
        yield (bad.index(True) + 1 if any(bad) else None), loss.item(), weights


def is_finite(values: Tensor) -> bool:
    """Whether all are: then their sum in float64, which is beyond reach of float32, is finite too."""
    return math.isfinite(values.detach().sum(dtype=torch.float64).item())


def forward(x: Tensor, weights: list[Tensor]) -> Tensor:
    """Two hidden layers."""
    (a, b, c), (p, q, r) = weights[:3], weights[3:]
    return (((x @ a + p).relu() @ b + q).relu()) @ c + r


def loss_of(out: Tensor, x: Tensor, cause: str, fixed: bool, batch: int, step: int) -> Tensor:
    """The loss as the fault, or its repair, writes it."""
    y, label = x[:, :1] * x[:, 1:2], (x[:, 0] > 0).long()
    last = batch == 7
    match cause:
        case "log_of_zero":
            if fixed:
                return functional.cross_entropy(out, label)
            return -out.softmax(dim=1).gather(1, label[:, None]).log().mean()
        case "all_ignored":
            if last and fixed:
                return 0.0 * out.sum()
            return functional.cross_entropy(out, torch.full_like(label, -100) if last else label)
        case "label_two":
            return functional.binary_cross_entropy_with_logits(out[:, 0], (1 if fixed else 2) * label.float())
        case "sqrt_at_zero":
            error = out - y
            if step == 0:
                error = torch.cat([error[1:], out[:1] - out[:1].detach()])  # one target met exactly
            return (error.square() + EPS if fixed else error.square()).sqrt().mean()
        case "empty_mask":
            valid = torch.full_like(y, 0.0 if last else 1.0)
            count = valid.sum()
            return (valid * (out - y).square()).sum() / (count.clamp(min=1) if fixed else count)
    return (out - y).square().mean()


def nan_share(weights: list[Tensor]) -> float:
    """Over all weights and biases."""
    flat = torch.cat([w.detach().flatten() for w in weights])
    return float(flat.isnan().double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
