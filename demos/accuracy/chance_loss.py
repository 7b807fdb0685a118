"""A classifier that knows nothing starts at a loss of ln C; a higher start means that its logits are too large.

`n` samples of `classes` classes, logits drawn from N(0, std²), independent of the labels; the loss is the mean
cross-entropy in nats, computed in float64. With std = 0 all logits are equal and the loss is ln C exactly. In general
its mean is E log Σ exp(z_i), which lies between ln C and ln C + std²/2 (Jensen) and is near the upper end as long as
std is small against √(2 ln C). `balance` is the fraction of class 0, the others having equal parts of the rest (0: all
equally frequent). Always guessing these fractions costs their entropy, the least that is possible without looking at x.
Wrong and sure of it: the loss of one sample whose wrong logit leads by std·10. Random: logits.
The curve runs over std from 0 to max(std, 4).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

TITLE = {"zh": "瞎猜的损失：ln C", "en": "The loss of pure guessing: ln C"}
PARAMS = {
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 1000},
    "std": {"zh": "logits 的标准差", "en": "standard deviation of the logits", "ge": 0, "le": 100},
    "balance": {
        "zh": "第 0 类的占比（0 = 各类一样多）",
        "en": "fraction of class 0 (0: all equal)",
        "ge": 0,
        "le": 0.99,
    },
    "n": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 5000},
}
LIMITS = [{"product": ["classes", "n"], "le": 1000000}]
COLUMNS = {
    "std": {"zh": "logits 的标准差", "en": "standard deviation of the logits"},
    "loss": {"zh": "交叉熵", "en": "cross-entropy"},
    "chance": {"zh": "ln C", "en": "ln C"},
}
METRICS = {
    "loss": {"zh": "测得的交叉熵", "en": "cross-entropy measured"},
    "theory_chance_loss": {"zh": "ln C", "en": "ln C"},
    "above_chance": {"zh": "比 ln C 高多少", "en": "how far above ln C"},
    "theory_upper": {"zh": "上界 ln C + std²/2", "en": "upper bound, ln C + std²/2"},
    "prior_loss": {"zh": "只猜类别占比的交叉熵", "en": "cross-entropy of guessing the class fractions"},
    "theory_entropy": {"zh": "类别占比的熵", "en": "entropy of the class fractions"},
    "accuracy": {"zh": "准确率", "en": "accuracy"},
    "sure_and_wrong": {"zh": "很自信地猜错一个的损失", "en": "loss of one sample, sure and wrong"},
}
CHART = {
    "transform": [{"fold": ["loss", "chance"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "std", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"zero": True}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(classes: int = 10, std: float = 0.0, balance: float = 0.0, n: int = 1000) -> Generator[Row, None, Metrics]:
    shares = class_shares(classes, balance)
    y = torch.bucketize(torch.arange(n, dtype=torch.float64), (shares.cumsum(0) * n).round()[:-1], right=True)
    logits = torch.randn(n, classes, dtype=torch.float64)
    for i in range(21):
        at = max(std, 4.0) * i / 20
        yield {"std": at, "loss": cross_entropy(at * logits, y).item(), "chance": math.log(classes)}
    loss = cross_entropy(std * logits, y).item()
    wrong = torch.zeros(1, classes, dtype=torch.float64)
    wrong[0, 1] = 10 * std
    return {
        "loss": loss,
        "theory_chance_loss": math.log(classes),
        "above_chance": loss - math.log(classes),
        "theory_upper": math.log(classes) + std**2 / 2,
        "prior_loss": cross_entropy(shares.log().expand(n, -1), y).item(),
        "theory_entropy": -(shares * shares.log()).sum().item(),
        "accuracy": ((std * logits).argmax(1) == y).double().mean().item(),
        "sure_and_wrong": cross_entropy(wrong, torch.zeros(1, dtype=torch.long)).item(),
    }


def class_shares(classes: int, balance: float) -> Tensor:
    """The share of each class."""
    first = balance or 1 / classes
    return torch.tensor([first] + [(1 - first) / (classes - 1)] * (classes - 1), dtype=torch.float64)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
