"""ArcFace starts at a loss of about s·sin m + ln C, and the accuracy that counts the margin is 0 while it learns.

`classes` classes with prototypes N(0, I) in `dims` dimensions; a sample is its prototype plus `noise`·N(0, I). A linear
layer (dims → dims, weights N(0, 1/dims)) embeds it; class vectors N(0, I) are learned. Both are normalised, cos θ is
their product; logits s·cos θ, and of the right class s·cos(θ + m), cos(θ + m) = cos θ cos m − sin θ sin m. `scale` s,
`margin` m. Cross-entropy, Adam at rate `lr`, batches of 128, `n` steps.

Theory at the start, where θ is about a right angle with cosines of variance 1/dims: the right logit is −s·sin m, the
others' log-sum-exp ln(C − 1) + s²/(2 dims), if s is not much larger than √dims; theory_start their difference. floor:
the loss when every sample lies on its class vector and those are orthogonal, ln(1 + (C − 1) e^(−s cos m)).
counted: accuracy of the logits with the margin, as training loops print it; plain: of the cosines. Both on fresh
samples. Random: prototypes, noise, weights. Source: Deng et al. 2019, ArcFace, CVPR.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TITLE = {"zh": "ArcFace 的初始损失与“0 准确率”", "en": "ArcFace's first loss and its accuracy of 0"}
PARAMS = {
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 1000},
    "scale": {"zh": "缩放 s", "en": "scale s", "ge": 0.1, "le": 128},
    "margin": {"zh": "间隔 m", "en": "margin m", "unit": "rad", "ge": 0, "le": 1.5},
    "dims": {"zh": "嵌入维数", "en": "dimensions of the embedding", "ge": 8, "le": 256},
    "noise": {"zh": "类内噪声", "en": "noise within a class", "ge": 0, "le": 5},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 200},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "counted": {"zh": "带间隔的准确率", "en": "accuracy with the margin"},
    "plain": {"zh": "不带间隔的准确率", "en": "accuracy without the margin"},
}
METRICS = {
    "loss_start": {"zh": "第一步的损失", "en": "loss of the first step"},
    "theory_start": {"zh": "理论的初始损失", "en": "loss at the start in theory"},
    "softmax_start": {"zh": "普通 softmax 的初始损失 ln C", "en": "a plain softmax's first loss, ln C"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "floor": {"zh": "完美嵌入的损失", "en": "loss of a perfect embedding"},
    "counted": {"zh": "最后带间隔的准确率", "en": "accuracy with the margin at the end"},
    "plain": {"zh": "最后不带间隔的准确率", "en": "accuracy without the margin at the end"},
}
CHART = {
    "transform": [{"fold": ["counted", "plain"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
BATCH = 128


def run(
    classes: int = 500,
    scale: float = 64.0,
    margin: float = 0.5,
    dims: int = 256,
    noise: float = 1.0,
    lr: float = 0.003,
    n: int = 60,
) -> Generator[Row, None, Metrics]:
    prototypes = torch.randn(classes, dims)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (count,))
        return prototypes[labels] + noise * torch.randn(count, dims), labels

    embed = (torch.randn(dims, dims) / math.sqrt(dims)).requires_grad_()
    vectors = torch.randn(classes, dims).requires_grad_()
    adam = torch.optim.Adam([embed, vectors], lr=lr, fused=True)
    test, test_labels = draw(500)

    def cosines(samples: Tensor) -> Tensor:
        return normalize(samples @ embed) @ normalize(vectors).T

    def accuracies() -> tuple[float, float]:
        cos = cosines(test).detach()
        shifted = with_margin(cos, test_labels, margin)
        counted, plain = ((x.argmax(1) == test_labels).double().mean().item() for x in (shifted, cos))
        return counted, plain

    losses: list[float] = []
    every = max(1, n // 15)
    for step in range(1, n + 1):
        samples, labels = draw(BATCH)
        loss = cross_entropy(scale * with_margin(cosines(samples), labels, margin), labels)
        losses.append(loss.item())
        if step % every == 0 or step == 1:
            counted, plain = accuracies()
            yield {"step": step, "loss": losses[-1], "counted": counted, "plain": plain}
        adam.zero_grad()
        loss.backward()
        adam.step()
    counted, plain = accuracies()
    return {
        "loss_start": losses[0],
        "theory_start": scale * math.sin(margin) + math.log(classes - 1) + scale**2 / (2 * dims),
        "softmax_start": math.log(classes),
        "loss_end": losses[-1],
        "floor": math.log1p((classes - 1) * math.exp(-scale * math.cos(margin))),
        "counted": counted,
        "plain": plain,
    }


def with_margin(cos: Tensor, labels: Tensor, margin: float) -> Tensor:
    """cos(θ + m) for the right class, cos θ for the others."""
    right = cos.gather(1, labels[:, None])
    sine = (1 - right.square()).clamp(min=1e-6).sqrt()
    return cos.scatter(1, labels[:, None], right * math.cos(margin) - sine * math.sin(margin))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
