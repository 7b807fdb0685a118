"""CTC learns to say blank everywhere first: most frames of most alignments are blanks; labels come out of it later.

`samples` sequences of `frames` frames with `length` different labels each, of `classes` symbols, 0 the blank. A label's
segment is frames/length frames long; in its middle frame the feature of the label (one-hot, times 2) is added to noise
N(0, `noise`²). A linear layer (with bias, from 0) gives each frame its logits; PyTorch's ctc_loss (sum over samples,
divided by their number), Adam at rate `lr`, `n` steps. `way`: ctc; framewise, cross-entropy with the label on the
middle frames and the blank on the others, which needs to know the places.

occupancy: with equal logits every alignment is as probable as any other; the mean fraction of their frames that are
blank, from the gradient of the loss, 1/classes − ∂L/∂logit. It exceeds 1/classes as soon as frames are plenty, and the
first steps raise the blank's probability at every frame. blank: fraction of frames whose most probable symbol is the
blank, whose largest value after the first step is peak, at peak_step; correct: fraction of sequences that greedy
decoding gets right; right_from: the first step at which that is a half. Random: features, labels.
Source: Graves et al. 2006, Connectionist temporal classification; Zeyer et al. 2021, Why does CTC result in peaky
behavior?
"""

import operator
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, ctc_loss

TITLE = {"zh": "CTC 先学会全输出空白", "en": "CTC first learns to say blank"}
PARAMS = {
    "way": {"zh": "怎样训练", "en": "how it is trained"},
    "frames": {"zh": "帧数", "en": "frames", "ge": 4, "le": 60},
    "length": {"zh": "标签长度", "en": "labels of a sequence", "ge": 1, "le": 10},
    "classes": {"zh": "类别数（含空白）", "en": "symbols, with the blank", "ge": 11, "le": 30},
    "samples": {"zh": "序列数", "en": "sequences", "ge": 1, "le": 32},
    "noise": {"zh": "特征噪声", "en": "noise of the features", "ge": 0, "le": 10},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "blank": {"zh": "输出空白的帧的比例", "en": "fraction of frames that say blank"},
    "correct": {"zh": "整条解码正确的比例", "en": "fraction of sequences decoded rightly"},
}
METRICS = {
    "occupancy": {"zh": "等概率对齐里空白帧的比例", "en": "blank frames of equally probable alignments, fraction"},
    "even_share": {"zh": "1 ÷ 类别数", "en": "1 over the number of symbols"},
    "loss_start": {"zh": "第一步的损失", "en": "loss of the first step"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "peak": {"zh": "空白帧的最大比例", "en": "largest fraction of blank frames"},
    "peak_step": {"zh": "空白最多的步", "en": "step with most blanks", "unit": "step"},
    "peak_correct": {"zh": "那一步解码正确的比例", "en": "fraction decoded rightly at that step"},
    "peak_loss": {"zh": "那一步的损失", "en": "loss of that step"},
    "right_from": {"zh": "过半解码正确的步", "en": "step from which half is decoded rightly", "unit": "step"},
    "blank_end": {"zh": "最后输出空白的帧的比例", "en": "fraction of blank frames at the end"},
    "correct_end": {"zh": "最后整条解码正确的比例", "en": "fraction decoded rightly at the end"},
}
CHART = {
    "transform": [{"fold": ["loss", "blank", "correct"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SIGNAL = 2.0


def run(
    way: Literal["ctc", "framewise"] = "ctc",
    frames: int = 40,
    length: int = 4,
    classes: int = 21,
    samples: int = 16,
    noise: float = 0.3,
    lr: float = 0.05,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    targets = torch.stack([1 + torch.randperm(classes - 1)[:length] for _ in range(samples)])
    places = ((torch.arange(length) + 0.5) * frames / length).long()
    features = noise * torch.randn(frames, samples, classes)
    for label, place in enumerate(places):
        features[place, torch.arange(samples), targets[:, label]] += SIGNAL
    by_frame = torch.zeros(frames, samples, dtype=torch.long)
    by_frame[places] = targets.T
    weight = torch.zeros(classes, classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    adam = torch.optim.Adam([weight, bias], lr=lr, fused=True)
    rows: list[Row] = []
    for step in range(1, n + 1):
        logits = features @ weight + bias
        loss = alignment_loss(logits, targets)
        said = logits.detach().argmax(2)
        correct = sum(map(operator.eq, map(decoded, said.T.tolist()), targets.tolist())) / samples
        rows.append(
            {"step": step, "loss": loss.item(), "blank": (said == 0).double().mean().item(), "correct": correct}
        )
        yield rows[-1]
        adam.zero_grad()
        if way == "ctc":
            loss.backward()
        else:
            cross_entropy(logits.flatten(0, 1), by_frame.flatten()).backward()
        adam.step()
    peak = max(rows[1:] or rows, key=lambda row: row["blank"])
    return {
        "occupancy": blank_occupancy(frames, targets[:1], classes),
        "even_share": 1 / classes,
        "loss_start": rows[0]["loss"],
        "loss_end": rows[-1]["loss"],
        "peak": peak["blank"],
        "peak_step": peak["step"],
        "peak_correct": peak["correct"],
        "peak_loss": peak["loss"],
        "right_from": next((row["step"] for row in rows if row["correct"] >= 0.5), None),
        "blank_end": rows[-1]["blank"],
        "correct_end": rows[-1]["correct"],
    }


def alignment_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The CTC loss of logits of frames × samples × symbols, summed over a sample and averaged over them."""
    frames, samples = logits.shape[:2]
    lengths = torch.full((samples,), targets.shape[1])
    total = ctc_loss(logits.log_softmax(2), targets, torch.full((samples,), frames), lengths, reduction="sum")
    return total / samples


def blank_occupancy(frames: int, target: Tensor, classes: int) -> float:
    """The mean fraction of blank frames over all alignments of one target, each as probable as any other."""
    logits = torch.zeros(frames, 1, classes, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(alignment_loss(logits, target), logits)
    return float((1 / classes - gradient[:, 0, 0]).mean())


def decoded(symbols: list[int]) -> list[int]:
    """Repeats merged, then blanks left out."""
    return [symbol for before, symbol in pairwise([0, *symbols]) if symbol not in (before, 0)]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
