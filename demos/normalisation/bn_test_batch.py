"""Batch norm in train mode judges a test sample by its neighbours: right in a shifted balanced batch, wrong in others.

One feature x = ±`separation` + N(0, 1) + shift, the sign being the class. Training was balanced and without shift, so
the stored statistics are mean 0 and variance separation² + 1, and the classifier says + where the normalised feature
is above 0. Test: 100 batches of `batch` samples moved by `shift`, a fraction `positives` of class + in each batch.
Ways:

eval        the stored statistics
train_mode  the statistics of each test batch (model.train(), or track_running_stats=False)
adapted     the statistics of 512 balanced unlabelled test samples, then frozen

flips: fraction of samples to which train mode gives another class in a batch with as many samples of the other class
mixture (1 − positives). Theory for large batches, with m = separation, p = positives: train mode puts the threshold on
the batch's mean and is right with probability p·Φ(2m(1 − p)) + (1 − p)·Φ(2mp); eval p·Φ(m + shift) + (1 − p)·Φ(m −
shift). The chart has all mixtures. Random: noise. Source: Ioffe & Szegedy 2015, Batch normalization; Schneider et al.
2020.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "测试时用训练模式的批量归一化", "en": "Batch norm in train mode at test time"}
PARAMS = {
    "positives": {"zh": "测试批中正类的比例", "en": "fraction of class + in a test batch", "ge": 0, "le": 1},
    "shift": {"zh": "测试数据的平移", "en": "shift of the test data", "ge": -10, "le": 10},
    "batch": {"zh": "测试批的样本数", "en": "samples in a test batch", "ge": 2, "le": 512},
    "separation": {"zh": "两类到中点的距离", "en": "distance of the classes from the middle", "ge": 0, "le": 10},
}
COLUMNS = {
    "positives": {"zh": "正类的比例", "en": "fraction of class +"},
    "eval": {"zh": "评估模式", "en": "eval mode"},
    "train_mode": {"zh": "训练模式", "en": "train mode"},
    "adapted": {"zh": "重新估计后冻结", "en": "estimated again, then frozen"},
}
METRICS = {
    "eval": {"zh": "准确率，评估模式", "en": "accuracy, eval mode"},
    "train_mode": {"zh": "准确率，训练模式", "en": "accuracy, train mode"},
    "adapted": {"zh": "准确率，重新估计后冻结", "en": "accuracy, estimated again, then frozen"},
    "flips": {"zh": "换一批邻居后改判的比例", "en": "fraction judged otherwise among other neighbours"},
    "theory_eval": {"zh": "理论值，评估模式", "en": "theory, eval mode"},
    "theory_train_mode": {"zh": "理论值，训练模式", "en": "theory, train mode"},
}
CHART = {
    "transform": [{"fold": ["eval", "train_mode", "adapted"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "positives", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    positives: float = 1.0, shift: float = 0.0, batch: int = 64, separation: float = 2.0
) -> Generator[Row, None, Metrics]:
    pool, _ = batches(8, 64, 0.5, separation)
    threshold = (pool + shift).mean().item()
    for k in range(11):
        found = accuracies(*batches(100, batch, k / 10, separation), shift, threshold)
        yield {"positives": k / 10} | found
    x, labels = batches(100, batch, positives, separation)
    others, _ = batches(100, batch, 1 - positives, separation)
    means = (x + shift).mean(1, keepdim=True)
    elsewhere = (torch.cat([x[:, :1], others[:, 1:]], 1) + shift).mean(1)
    first = x[:, 0] + shift
    return accuracies(x, labels, shift, threshold) | {
        "flips": ((first > means[:, 0]) != (first > elsewhere)).double().mean().item(),
        "theory_eval": positives * normal(separation + shift) + (1 - positives) * normal(separation - shift),
        "theory_train_mode": positives * normal(2 * separation * (1 - positives))
        + (1 - positives) * normal(2 * separation * positives),
    }


def batches(count: int, batch: int, positives: float, separation: float) -> tuple[Tensor, Tensor]:
    """Features and labels (±1) of `count` batches; each has the same number of class +, rounded."""
    labels = torch.ones(count, batch, dtype=torch.float64)
    labels[:, round(positives * batch) :] = -1
    order = torch.rand(count, batch).argsort(1)
    labels = labels.gather(1, order)
    return separation * labels + torch.randn(count, batch).double(), labels


def accuracies(x: Tensor, labels: Tensor, shift: float, threshold: float) -> dict[str, float]:
    """By the sign of the normalised feature, which is that of x less the mean in use."""
    x = x + shift
    means = {"eval": 0.0, "train_mode": x.mean(1, keepdim=True), "adapted": threshold}
    return {name: ((x > mean) == (labels > 0)).double().mean().item() for name, mean in means.items()}


def normal(z: float) -> float:
    """The distribution function Φ of N(0, 1)."""
    return 0.5 * math.erfc(-z / 2**0.5)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
