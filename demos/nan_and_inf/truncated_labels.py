"""Truncating on the right removes the answer first: samples with long prompts keep no label, and their mean is 0/0.

`n` samples of a prompt and an answer with lengths round(`prompt`·e^(0.6·a)) and round(`answer`·e^(0.6·b)), a and b from
N(0, 1), both at least 1. Only tokens of the answer carry labels. Cut to `limit` tokens in two ways: right keeps the
first `limit` tokens, so max(0, min(answer, limit − prompt)) labels; prompt cuts the front of the prompt instead and
keeps min(answer, limit − 1) labels. unlabelled: the fraction of samples without any label; kept: the fraction of all
answer tokens that are left. nan_batches: the fraction of batches of `batch` samples, in order, without any label, each
batch's loss being torch's cross_entropy (mean, ignore_index −100) of zero logits over a vocabulary of 4: nan there,
ln 4 elsewhere.

empty: the loss of one wholly unlabelled batch, its gradient norm, and the loss as sum/max(count, 1). The rows scan
the limit from 1/32 of `limit` to 2 times `limit`. Random: lengths.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

TITLE = {"zh": "截断以后没有标签", "en": "No labels left after truncation"}
PARAMS = {
    "limit": {"zh": "最大长度", "en": "largest length", "unit": "token", "ge": 2, "le": 8192},
    "prompt": {"zh": "提示的典型长度", "en": "typical length of a prompt", "unit": "token", "ge": 1, "le": 10000},
    "answer": {"zh": "回答的典型长度", "en": "typical length of an answer", "unit": "token", "ge": 1, "le": 10000},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 1, "le": 64},
    "n": {"zh": "样本数", "en": "samples", "ge": 1, "le": 2000},
}
COLUMNS = {
    "limit": {"zh": "最大长度", "en": "largest length"},
    "right": {"zh": "从右边截：无标签的比例", "en": "without labels, cut on the right"},
    "prompt": {"zh": "截提示：无标签的比例", "en": "without labels, prompt cut"},
}
METRICS = {
    "unlabelled": {"zh": "从右边截：没有标签的样本比例", "en": "samples without labels, cut on the right"},
    "unlabelled_prompt": {"zh": "截提示：没有标签的样本比例", "en": "samples without labels, prompt cut"},
    "nan_batches": {"zh": "损失是 nan 的批比例", "en": "fraction of batches with a nan loss"},
    "nan_batches_prompt": {"zh": "截提示：损失是 nan 的批比例", "en": "fraction of nan batches, prompt cut"},
    "kept": {"zh": "从右边截：留下的回答 token 比例", "en": "fraction of answer tokens kept, cut on the right"},
    "kept_prompt": {"zh": "截提示：留下的回答 token 比例", "en": "fraction of answer tokens kept, prompt cut"},
    "empty_loss": {"zh": "没有标签的一批：损失", "en": "a batch without labels: loss"},
    "empty_gradient": {"zh": "没有标签的一批：梯度范数", "en": "a batch without labels: gradient norm"},
    "empty_safe": {"zh": "没有标签的一批：和 / max(个数, 1)", "en": "a batch without labels: sum/max(count, 1)"},
}
CHART = {
    "transform": [{"fold": ["right", "prompt"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "limit", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    limit: int = 512, prompt: int = 400, answer: int = 100, batch: int = 1, n: int = 500
) -> Generator[Row, None, Metrics]:
    prompts, answers = ((size * (0.6 * torch.randn(n)).exp()).round().clamp(min=1) for size in (prompt, answer))
    for k in range(1, 65):
        cut = max(2, limit * k // 32)
        right, front = labels_left(prompts, answers, cut)
        yield {"limit": cut, "right": share(right == 0), "prompt": share(front == 0)}
    right, front = labels_left(prompts, answers, limit)
    empty, gradient = loss(torch.zeros(1))
    return {
        "unlabelled": share(right == 0),
        "unlabelled_prompt": share(front == 0),
        "nan_batches": nan_batches(right, batch),
        "nan_batches_prompt": nan_batches(front, batch),
        "kept": float(right.double().sum() / answers.double().sum()),
        "kept_prompt": float(front.double().sum() / answers.double().sum()),
        "empty_loss": empty,
        "empty_gradient": gradient,
        "empty_safe": cross_entropy(torch.zeros(8, 4), torch.full((8,), -100), reduction="sum").item() / 1,
    }


def labels_left(prompts: Tensor, answers: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Labels of each sample, cut on the right and with the prompt cut."""
    return torch.minimum(answers, limit - prompts).clamp(min=0), answers.clamp(max=limit - 1)


def nan_batches(labels: Tensor, batch: int) -> float:
    losses = [loss(part)[0] for part in labels.split(batch)]
    return sum(math.isnan(value) for value in losses) / len(losses)


def loss(labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy of a batch with that many labels a sample, at most 8 of them used, and its gradient norm."""
    target = torch.where(torch.arange(8) < labels.clamp(max=8)[:, None], 0, -100).flatten()
    logits = torch.zeros(len(target), 4, requires_grad=True)
    value = cross_entropy(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.item(), float(gradient.double().norm())


def share(events: Tensor) -> float:
    return float(events.double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
