"""A SimSiam or BYOL loss of −1 says nothing: a collapsed net has it too; the spread of the outputs tells them apart.

Samples: one of 8 class centres N(0, I) in 16 dimensions plus 0.5·N(0, I); two views of a sample add `noise`·N(0, I)
each. An encoder (16 → 64, ReLU, 64 → 16; `batch_norm`: batch normalisation after both layers, without γ and β after the
second) gives z, a predictor (16 → 8, ReLU, 8 → 16) gives p. Loss: −½ (cos(p₁, z₂) + cos(p₂, z₁)); `stop`: z without
gradient. SGD with momentum 0.9 at rate `lr`, batches of 128, `n` steps. The least possible loss is −1: it is reached
when all outputs are the same vector, and just as well when the views of each sample agree.

spread: standard deviation over samples of z / |z|, mean of the dimensions, times √16: 1 for outputs in all directions,
0 for a single point. kept: effective number of dimensions of z / |z|, exp of the entropy of the covariance's
eigenvalues. nearest: fraction of samples whose nearest neighbour by cosine is of their class, among 400 without view
noise; chance is 1/8. Random: data, weights. Source: Chen & He 2021, Exploring simple Siamese representation learning.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

TITLE = {"zh": "SimSiam 的损失 −1 与坍缩", "en": "A SimSiam loss of −1 and collapse"}
PARAMS = {
    "stop": {"zh": "目标不传梯度", "en": "targets without gradient"},
    "batch_norm": {"zh": "编码器里有批量归一化", "en": "batch norm in the encoder"},
    "noise": {"zh": "两个视图的噪声", "en": "noise of the two views", "ge": 0, "le": 5},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 800},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "spread": {"zh": "输出的离散程度", "en": "spread of the outputs"},
}
METRICS = {
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "spread_start": {"zh": "开始时输出的离散程度", "en": "spread of the outputs at the start"},
    "spread_end": {"zh": "最后输出的离散程度", "en": "spread of the outputs at the end"},
    "kept": {"zh": "最后的有效维数", "en": "effective dimensions at the end"},
    "nearest_start": {"zh": "开始时最近邻同类的比例", "en": "nearest neighbour of the class, at the start"},
    "nearest_end": {"zh": "最后最近邻同类的比例", "en": "nearest neighbour of the class, at the end"},
}
CHART = {
    "transform": [{"fold": ["loss", "spread"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
CLASSES, INPUTS, OUTPUTS = 8, 16, 16


def run(
    stop: bool = False, batch_norm: bool = False, noise: float = 1.0, lr: float = 0.05, n: int = 400
) -> Generator[Row, None, Metrics]:
    centres = torch.randn(CLASSES, INPUTS)
    encoder, predictor = nets(batch_norm)
    parameters = [*encoder.parameters(), *predictor.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=True)
    labels = torch.arange(400) % CLASSES
    test = centres[labels] + 0.5 * torch.randn(400, INPUTS)

    def outputs() -> Tensor:
        with torch.no_grad():
            return normalize(encoder(test), dim=1, eps=1e-12).double()

    before = outputs()
    spread_start, nearest_start = spread(before), nearest(before, labels)
    losses: list[float] = []
    every = max(1, n // 60)
    for step in range(1, n + 1):
        chosen = torch.randint(CLASSES, (128,))
        clean = centres[chosen] + 0.5 * torch.randn(128, INPUTS)
        one, two = (encoder(clean + noise * torch.randn_like(clean)) for _ in range(2))
        targets = (one.detach(), two.detach()) if stop else (one, two)
        agreement = cosine_similarity(predictor(one), targets[1]) + cosine_similarity(predictor(two), targets[0])
        loss = -agreement.mean() / 2
        losses.append(loss.item())
        if step % every == 0 or step == 1:
            yield {"step": step, "loss": losses[-1], "spread": spread(outputs())}
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = outputs()
    return {
        "loss_end": losses[-1],
        "spread_start": spread_start,
        "spread_end": spread(after),
        "kept": effective_dimensions(after),
        "nearest_start": nearest_start,
        "nearest_end": nearest(after, labels),
    }


def nets(batch_norm: bool) -> tuple[torch.nn.Sequential, torch.nn.Sequential]:
    inner: list[torch.nn.Module] = [torch.nn.BatchNorm1d(64)] if batch_norm else []
    outer: list[torch.nn.Module] = [torch.nn.BatchNorm1d(OUTPUTS, affine=False)] if batch_norm else []
    first, second = torch.nn.Linear(INPUTS, 64), torch.nn.Linear(64, OUTPUTS)
    encoder = torch.nn.Sequential(first, *inner, torch.nn.ReLU(), second, *outer)
    return encoder, torch.nn.Sequential(torch.nn.Linear(OUTPUTS, 8), torch.nn.ReLU(), torch.nn.Linear(8, OUTPUTS))


def spread(unit: Tensor) -> float:
    """Standard deviation of unit vectors over samples, mean of the dimensions, times √dimensions."""
    return float(unit.std(0, correction=0).mean()) * math.sqrt(unit.shape[1])


def effective_dimensions(unit: Tensor) -> float:
    """Exp of the entropy of the normalised eigenvalues of the covariance."""
    values = torch.linalg.eigvalsh(torch.cov(unit.T)).clamp(min=0)
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


def nearest(unit: Tensor, labels: Tensor) -> float:
    similar = unit @ unit.T
    similar.fill_diagonal_(-math.inf)
    return float((labels[similar.argmax(1)] == labels).double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
