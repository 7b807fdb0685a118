"""Batch-hard triplets of a fresh net shrink all distances to 0: the loss then stays at exactly the margin.

`classes` classes of 8 points, centres N(0, `separation`²) in 16 dimensions plus N(0, 1); a linear layer 16 → 4 from
N(0, 1/16) embeds them, Euclidean distances (plus 1e-12 under the root). The triplet loss is the mean of
max(0, d(anchor, positive) − d(anchor, negative) + `margin`). `mining`: hard, for each anchor the farthest positive and
the nearest negative; all, every triplet. Adam at rate `lr`, `n` full-batch steps.

If all embeddings are the same point every distance is 0 and the loss is the margin. While the farthest positive is
farther than the nearest negative, multiplying all embeddings by s < 1 lowers the loss towards the margin (theory: it is
margin + s·gap, gap = mean of d_ap − d_an), and that is the nearest way down. gap_start, gap_start_all: this gap at the
start, of the hardest and of all triplets; spread: the mean distance of two points; nearest: fraction of points whose
nearest neighbour is of their class. Random: points, weights. Source: Schroff, Kalenichenko & Philbin 2015, FaceNet;
Hermans, Beyer & Leibe 2017, In defense of the triplet loss.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "三元组损失停在 margin：嵌入坍缩", "en": "A triplet loss at the margin: collapsed embeddings"}
PARAMS = {
    "mining": {"zh": "怎样挑三元组", "en": "which triplets"},
    "margin": {"zh": "margin", "en": "margin", "ge": 0, "le": 10},
    "separation": {"zh": "类中心的标准差", "en": "standard deviation of the centres", "ge": 0, "le": 20},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 12},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "spread": {"zh": "两点的平均距离", "en": "mean distance of two points"},
    "margin": {"zh": "margin", "en": "margin"},
}
METRICS = {
    "loss_start": {"zh": "第一步的损失", "en": "loss of the first step"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "over_margin": {"zh": "最后的损失 ÷ margin", "en": "loss at the end over the margin"},
    "spread_start": {"zh": "开始时两点的平均距离", "en": "mean distance of two points at the start"},
    "spread_end": {"zh": "最后两点的平均距离", "en": "mean distance of two points at the end"},
    "gap_start": {"zh": "最难三元组的正负距离差", "en": "gap of the hardest triplets at the start"},
    "gap_start_all": {"zh": "全部三元组的正负距离差", "en": "gap of all triplets at the start"},
    "nearest": {"zh": "最近邻同类的比例", "en": "fraction whose nearest neighbour is of its class"},
}
CHART = {
    "transform": [{"fold": ["loss", "spread", "margin"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
SAMPLES = 8


def run(
    mining: Literal["hard", "all"] = "hard",
    margin: float = 0.2,
    separation: float = 0.5,
    classes: int = 8,
    lr: float = 0.01,
    n: int = 400,
) -> Generator[Row, None, Metrics]:
    labels = torch.arange(classes).repeat_interleave(SAMPLES)
    points = separation * torch.randn(classes, 16)[labels] + torch.randn(len(labels), 16)
    weight = (torch.randn(16, 4) / 4).requires_grad_()
    adam = torch.optim.Adam([weight], lr=lr, fused=True)
    first = distances(points @ weight.detach())
    rows: list[Row] = []
    for step in range(1, n + 1):
        between = distances(points @ weight)
        loss = (gaps(between, labels, mining) + margin).clamp(min=0).mean()
        rows.append({"step": step, "loss": loss.item(), "spread": spread(between), "margin": margin})
        yield rows[-1]
        adam.zero_grad()
        loss.backward()
        adam.step()
    own = distances(points @ weight.detach()) + torch.diag(torch.full((len(labels),), torch.inf))
    return {
        "loss_start": rows[0]["loss"],
        "loss_end": rows[-1]["loss"],
        "over_margin": rows[-1]["loss"] / margin if margin else torch.inf,
        "spread_start": rows[0]["spread"],
        "spread_end": rows[-1]["spread"],
        "gap_start": gaps(first, labels, "hard").double().mean().item(),
        "gap_start_all": gaps(first, labels, "all").double().mean().item(),
        "nearest": (labels[own.argmin(1)] == labels).double().mean().item(),
    }


def distances(embeddings: Tensor) -> Tensor:
    """Of all pairs; 1e-12 under the root keeps the slope finite where two points coincide."""
    return ((embeddings[:, None] - embeddings[None]).square().sum(2) + 1e-12).sqrt()


def gaps(between: Tensor, labels: Tensor, mining: str) -> Tensor:
    """d(anchor, positive) − d(anchor, negative) of the chosen triplets."""
    same = labels[:, None] == labels[None]
    if mining == "hard":
        farthest = between.masked_fill(~same, -torch.inf).amax(1)
        nearest = between.masked_fill(same, torch.inf).amin(1)
        return farthest - nearest
    positives = between[same & ~torch.eye(len(labels), dtype=torch.bool)].view(len(labels), -1, 1)
    negatives = between[~same].view(len(labels), 1, -1)
    return (positives - negatives).flatten()


def spread(between: Tensor) -> float:
    """The mean distance of two different points."""
    count = len(between)
    return float(between.detach().double().sum()) / (count * (count - 1))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
