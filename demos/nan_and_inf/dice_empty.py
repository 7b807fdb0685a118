"""Dice is 0/0 on an empty mask predicted empty; smooth above and below makes it 1, below alone stops all learning.

Soft Dice 2·Σpy/(Σp + Σy) of predictions p, all sigmoid(`score`), for a mask of `pixels` pixels of which `positive` are
1; `batch` masks in all, the others half full, each predicted with score ±6 rightly. Ways for the first mask, float32:

plain      2·Σpy/(Σp + Σy)
below      2·Σpy/(Σp + Σy + `smooth`)
both       (2·Σpy + smooth)/(Σp + Σy + smooth)
pooled     sums over the whole batch first, then plain

dice of each and the gradient of 1 − dice with respect to a score (mean absolute over the first mask's pixels). Of an
empty mask below gives dice 0 whatever is predicted, and no gradient: nothing teaches the net to predict nothing. The
rows show the dice as Σp shrinks. Nothing is random. Source: Milletari et al. 2016, V-Net (the Dice loss).
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor

TITLE = {"zh": "空掩码的 Dice", "en": "Dice of an empty mask"}
PARAMS = {
    "score": {"zh": "预测的 logit", "en": "logit of the prediction", "ge": -200, "le": 200},
    "positive": {"zh": "掩码里为 1 的像素数", "en": "pixels of the mask that are 1", "ge": 0, "le": 100},
    "smooth": {"zh": "smooth", "en": "smooth", "ge": 1e-12, "le": 1000},
    "pixels": {"zh": "像素数", "en": "pixels", "ge": 100, "le": 100000},
    "batch": {"zh": "掩码数", "en": "masks", "ge": 2, "le": 16},
}
COLUMNS = {
    "score": {"zh": "logit", "en": "logit"},
    "plain": {"zh": "不加", "en": "plain"},
    "below": {"zh": "只加分母", "en": "denominator only"},
    "both": {"zh": "都加", "en": "both"},
}
METRICS = {
    "plain": {"zh": "Dice，不加", "en": "dice, plain"},
    "below": {"zh": "Dice，只加分母", "en": "dice, denominator only"},
    "both": {"zh": "Dice，都加", "en": "dice, both"},
    "pooled": {"zh": "Dice，整批求和", "en": "dice, pooled"},
    "plain_gradient": {"zh": "梯度，不加", "en": "gradient, plain"},
    "below_gradient": {"zh": "梯度，只加分母", "en": "gradient, denominator only"},
    "both_gradient": {"zh": "梯度，都加", "en": "gradient, both"},
    "pooled_gradient": {"zh": "梯度，整批求和", "en": "gradient, pooled"},
}
CHART = {
    "transform": [{"fold": ["plain", "below", "both"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "score", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(
    score: float = -120.0, positive: int = 0, smooth: float = 1.0, pixels: int = 1000, batch: int = 4
) -> Generator[Row, None, Metrics]:
    mask = (torch.arange(pixels) < positive).float()
    other = (torch.arange(pixels) < pixels // 2).float().repeat(batch - 1)
    sure = torch.sigmoid(12 * other - 6)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": lambda p: dice(p, mask, 0.0, 0.0),
        "below": lambda p: dice(p, mask, 0.0, smooth),
        "both": lambda p: dice(p, mask, smooth, smooth),
        "pooled": lambda p: dice(torch.cat([p, sure]), torch.cat([mask, other]), 0.0, 0.0),
    }
    for k in range(-60, 11):
        p = torch.sigmoid(torch.full((pixels,), 2.0 * k))
        yield {"score": 2.0 * k} | {name: way(p).item() for name, way in ways.items() if name != "pooled"}
    scores = torch.full((pixels,), score, requires_grad=True)
    values = {name: way(torch.sigmoid(scores)) for name, way in ways.items()}
    gradients = {
        f"{name}_gradient": torch.autograd.grad(1 - value, scores, retain_graph=True)[0].double().abs().mean().item()
        for name, value in values.items()
    }
    return {name: value.item() for name, value in values.items()} | gradients


def dice(p: Tensor, y: Tensor, above: float, below: float) -> Tensor:
    """2·Σpy/(Σp + Σy) with constants added above and below."""
    return (2 * (p * y).sum() + above) / (p.sum() + y.sum() + below)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
