"""Inverted dropout keeps the mean and multiplies the second moment by 1/(1 − p), so train and test see other variances.

n activations x = relu(N(0, 1)) pass through dropout with probability p: each is set to 0 with probability p, the
others are multiplied by 1/(1 − p) (inverted, what PyTorch does in train mode) or left as they are (inverted=False).
Then `layers` times a linear layer with weights N(0, 1/256) on 256 units follows, each again after dropout, started
from N(0, 1) vectors: the mean square per layer in train mode and in eval mode, where dropout does nothing.
Theory: mean × 1, second moment × 1/(1 − p) per dropout, hence (1/(1 − p))^layers after several linear layers; without
the inverse factor mean × (1 − p) and second moment × (1 − p). Everything is in float64. Source: He et al. 2015 (how a
second moment passes through layers).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "dropout 对均值和方差的影响", "en": "What dropout does to mean and variance"}
PARAMS = {
    "n": {"zh": "激活值的个数", "en": "activations", "ge": 100, "le": 1000000},
    "p": {"zh": "丢弃概率", "en": "probability of dropping", "ge": 0, "le": 0.99},
    "layers": {"zh": "线性层数", "en": "linear layers", "unit": "layer", "ge": 1, "le": 30},
    "inverted": {"zh": "训练时除以 1 − p", "en": "divide by 1 − p in training"},
}
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "train": {"zh": "训练模式的均方", "en": "mean square, train mode"},
    "eval": {"zh": "评估模式的均方", "en": "mean square, eval mode"},
    "theory": {"zh": "训练模式，理论", "en": "train mode, theory"},
}
METRICS = {
    "mean_ratio": {"zh": "均值变成几倍", "en": "mean after over before"},
    "second_ratio": {"zh": "二阶矩变成几倍", "en": "second moment after over before"},
    "theory_second_ratio": {"zh": "二阶矩的理论倍数", "en": "second moment in theory"},
    "mean_shift": {"zh": "均值的相对变化", "en": "relative change of the mean"},
    "train_over_eval": {"zh": "多层之后：训练与评估均方之比", "en": "after the layers: train over eval mean square"},
    "theory_train_over_eval": {"zh": "多层之后的理论比值", "en": "after the layers, in theory"},
}
CHART = {
    "transform": [{"fold": ["train", "eval", "theory"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
WIDTH = 256


def run(n: int = 100000, p: float = 0.5, layers: int = 5, inverted: bool = True) -> Generator[Row, None, Metrics]:
    x = torch.randn(n, dtype=torch.float64).relu()
    dropped = dropout(x, p, inverted)
    second = 1 / (1 - p) if inverted else 1 - p
    train = evaluate = torch.randn(128, WIDTH, dtype=torch.float64)
    start = mean_square(train)
    yield {"layer": 0, "train": start, "eval": start, "theory": start}
    for layer in range(1, layers + 1):
        w = torch.randn(WIDTH, WIDTH, dtype=torch.float64) / math.sqrt(WIDTH)
        train, evaluate = dropout(train, p, inverted) @ w, evaluate @ w
        theory = start * second**layer
        yield {"layer": layer, "train": mean_square(train), "eval": mean_square(evaluate), "theory": theory}
    mean_ratio = float(dropped.mean() / x.mean())
    return {
        "mean_ratio": mean_ratio,
        "second_ratio": mean_square(dropped) / mean_square(x),
        "theory_second_ratio": second,
        "mean_shift": abs(mean_ratio - 1),
        "train_over_eval": mean_square(train) / mean_square(evaluate),
        "theory_train_over_eval": second**layers,
    }


def dropout(x: Tensor, p: float, inverted: bool) -> Tensor:
    """Each entry is kept with probability 1 − p."""
    kept = x * (torch.rand_like(x) >= p)
    return kept / (1 - p) if inverted else kept


def mean_square(x: Tensor) -> float:
    return float(x.pow(2).mean())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
