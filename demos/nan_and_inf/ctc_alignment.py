"""CTC gives inf for a target that does not fit its input, and every gradient after it is nan; the fit can be counted.

`batch` samples of `frames` time steps and `classes` classes, class 0 the blank; features N(0, 1) in 8 dimensions pass
through one shared linear layer, weights N(0, 1/8), then log-softmax and PyTorch's ctc_loss (reduction mean). The first
sample's target has `length` labels, of which `repeats` equal their predecessor; the others' targets are the labels 1, 2
alternating, as long as half the frames. An alignment needs a frame for every label and a blank between equal
neighbours: length + repeats frames. If there are fewer, no alignment exists, its probability is 0 and the loss is
−log 0 = inf; the gradient of that sample is nan, and with it the gradient of the shared layer. zero_infinity puts loss
and gradient of such samples to 0; dropping them (filtered) leaves the mean over the others. Random: features, weights.
Source: Graves et al. 2006, Connectionist temporal classification, ICML.
"""

import itertools
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

TITLE = {"zh": "CTC：标签比输入长，损失是 inf", "en": "CTC: a target longer than its input has loss inf"}
PARAMS = {
    "length": {"zh": "标签长度", "en": "labels in the target", "ge": 1, "le": 100},
    "repeats": {"zh": "与前一个相同的标签数", "en": "labels equal to their predecessor", "ge": 0, "le": 99},
    "frames": {"zh": "输入的帧数", "en": "frames of the input", "ge": 2, "le": 200},
    "batch": {"zh": "样本数", "en": "samples", "ge": 2, "le": 64},
    "classes": {"zh": "类别数（含空白）", "en": "classes, with the blank", "ge": 3, "le": 100},
}
COLUMNS = {
    "frames": {"zh": "帧数", "en": "frames"},
    "loss": {"zh": "第一个样本的损失", "en": "loss of the first sample"},
    "zeroed": {"zh": "zero_infinity 时", "en": "with zero_infinity"},
}
METRICS = {
    "needed": {"zh": "对齐至少需要的帧数", "en": "frames that an alignment needs", "unit": "frame"},
    "loss": {"zh": "整批的损失", "en": "loss of the batch"},
    "bad_gradients": {"zh": "共享层梯度里不是有限数的比例", "en": "non-finite fraction of the shared gradient"},
    "zeroed_loss": {"zh": "zero_infinity 时整批的损失", "en": "loss with zero_infinity"},
    "zeroed_bad_gradients": {"zh": "zero_infinity 时坏梯度的比例", "en": "the same fraction with zero_infinity"},
    "filtered_loss": {"zh": "删掉放不下的样本后的损失", "en": "loss without the samples that do not fit"},
    "dropped": {"zh": "放不下的样本数", "en": "samples that do not fit"},
    "shortest_frames": {"zh": "第一个有限的帧数（实测）", "en": "fewest frames with a finite loss", "unit": "frame"},
}
CHART = {
    "transform": [{"fold": ["loss", "zeroed"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "frames", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    length: int = 12, repeats: int = 3, frames: int = 14, batch: int = 8, classes: int = 6
) -> Generator[Row, None, Metrics]:
    first = target_with_repeats(length, min(repeats, length - 1))
    other = target_with_repeats(max(frames // 2, 1), 0)
    targets = [first] + [other] * (batch - 1)
    features, weight = torch.randn(frames, batch, 8), (torch.randn(8, classes) / 8**0.5).requires_grad_()
    needed = [len(target) + repeated(target) for target in targets]
    fits = [index for index, count in enumerate(needed) if count <= frames]
    long_features, shortest = torch.randn(length * 2 + 2, 1, 8), None
    for count in range(max(length - 2, 1), 2 * length + 3):
        scores = (long_features[:count] @ weight).detach()
        loss, zeroed = (mean_loss(scores, [first], zero).item() for zero in (False, True))
        shortest = count if shortest is None and loss != float("inf") else shortest
        yield {"frames": count, "loss": loss, "zeroed": zeroed}
    loss, bad = loss_and_bad_gradients(features, weight, targets, zero=False)
    zeroed_loss, zeroed_bad = loss_and_bad_gradients(features, weight, targets, zero=True)
    kept = mean_loss(features[:, fits] @ weight, [targets[index] for index in fits], False).item() if fits else None
    return {
        "needed": needed[0],
        "loss": loss,
        "bad_gradients": bad,
        "zeroed_loss": zeroed_loss,
        "zeroed_bad_gradients": zeroed_bad,
        "filtered_loss": kept,
        "dropped": batch - len(fits),
        "shortest_frames": shortest,
    }


def target_with_repeats(length: int, repeats: int) -> list[int]:
    """Labels 1 and 2 alternating, except that each of the first `repeats` after the first equals its predecessor."""
    labels = [1]
    for place in range(1, length):
        labels.append(labels[-1] if place <= repeats else 3 - labels[-1])
    return labels


def repeated(target: list[int]) -> int:
    """How many labels equal their predecessor."""
    return sum(a == b for a, b in itertools.pairwise(target))


def mean_loss(scores: Tensor, targets: list[list[int]], zero: bool) -> Tensor:
    """The CTC loss of scores of frames × samples × classes, over the target's length, averaged over the samples."""
    frames, lengths = torch.full((len(targets),), scores.shape[0]), torch.tensor([len(target) for target in targets])
    labels = torch.tensor([label for target in targets for label in target])
    return ctc_loss(scores.log_softmax(2), labels, frames, lengths, zero_infinity=zero)


def loss_and_bad_gradients(
    features: Tensor, weight: Tensor, targets: list[list[int]], zero: bool
) -> tuple[float, float]:
    """The loss of the batch, and the fraction of the shared layer's gradient that is not finite."""
    loss = mean_loss(features @ weight, targets, zero)
    (gradient,) = torch.autograd.grad(loss, weight)
    return loss.item(), (~gradient.isfinite()).double().mean().item()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
