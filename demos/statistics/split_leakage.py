"""With dependent samples a random split reports what was memorised; one that keeps neighbours together does not.

Data whose labels have nothing to do with the features except through dependence, n groups of `group` samples each:
- groups: every group (patient, user, video) has a label drawn by a coin and features N(0, 1) in 16 dimensions of its
  own; each of its samples adds noise of standard deviation `noise`. With noise = 0 the samples of a group are exact
  duplicates.
- series: n·group moments of a slow process: 16 features and the hidden number whose sign is the label are independent
  AR(1) series with correlation exp(−1/group) between neighbours; noise is added to the features as above.
`signal` adds signal·(±1) by label to the first feature: a real effect that carries over to new groups and later times.
The model memorises: it answers with the label of the nearest training sample. Accuracy on 30 % held out, chosen
- at random, sample by sample (what train_test_split does),
- honestly: whole groups held out; for the series the last 30 %, with a gap of 5·group before them.
Theory: without signal, no honest accuracy differs from ½ by more than chance. Source: Bottou, Curtis & Nocedal 2018.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "划分方式与虚高的验证准确率", "en": "How the split inflates validation accuracy"}
PARAMS = {
    "kind": {"zh": "数据怎样相关", "en": "kind of dependence"},
    "n": {"zh": "组数", "en": "groups", "ge": 20, "le": 500},
    "group": {"zh": "每组样本数", "en": "samples in a group", "unit": "sample", "ge": 1, "le": 50},
    "noise": {"zh": "组内噪声的标准差", "en": "noise within a group", "ge": 0, "le": 100},
    "signal": {"zh": "真实的效应", "en": "real effect", "ge": 0, "le": 100},
}
LIMITS = [{"product": ["n", "group"], "le": 5000}]
COLUMNS = {
    "split": {"zh": "划分方式", "en": "split"},
    "accuracy": {"zh": "验证准确率", "en": "validation accuracy"},
}
METRICS = {
    "random_accuracy": {"zh": "随机划分的验证准确率", "en": "validation accuracy, random split"},
    "honest_accuracy": {"zh": "按组或按时间划分的验证准确率", "en": "validation accuracy, split by group or time"},
    "inflation": {"zh": "虚高多少", "en": "by how much it is inflated"},
    "n_samples": {"zh": "样本总数", "en": "samples altogether", "unit": "sample"},
    "n_validation": {"zh": "如实划分的验证样本数", "en": "validation samples, honest split", "unit": "sample"},
}
WORDS = {
    "random": {"zh": "随机划分", "en": "at random"},
    "honest": {"zh": "按组或按时间划分", "en": "by group or time"},
}
CHART = {
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "accuracy", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "y": {"field": "split", "type": "nominal", "sort": None},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
FEATURES = 16


def run(
    kind: Literal["groups", "series"] = "groups",
    n: int = 200,
    group: int = 10,
    noise: float = 0.3,
    signal: float = 0.0,
) -> Generator[Row, None, Metrics]:
    total = n * group
    if kind == "groups":
        label = torch.randint(2, (n,)).repeat_interleave(group)
        features = torch.randn(n, FEATURES).repeat_interleave(group, dim=0)
        held_out = torch.isin(torch.arange(n), torch.randperm(n)[: round(0.3 * n)]).repeat_interleave(group)
        training = ~held_out
    else:
        slow = series(total, FEATURES + 1, math.exp(-1 / group))
        label, features = (slow[:, 0] > 0).long(), slow[:, 1:]
        held_out = torch.arange(total) >= round(0.7 * total)
        training = torch.arange(total) < round(0.7 * total) - min(5 * group, round(0.2 * total))
    features = features + noise * torch.randn(total, FEATURES)
    features[:, 0] += signal * (2 * label - 1)
    at_random = torch.isin(torch.arange(total), torch.randperm(total)[: round(0.3 * total)])
    random_accuracy = nearest_neighbour(features, label, ~at_random, at_random)
    honest_accuracy = nearest_neighbour(features, label, training, held_out)
    yield {"split": "random", "accuracy": random_accuracy}
    yield {"split": "honest", "accuracy": honest_accuracy}
    return {
        "random_accuracy": random_accuracy,
        "honest_accuracy": honest_accuracy,
        "inflation": random_accuracy - honest_accuracy,
        "n_samples": total,
        "n_validation": int(held_out.sum()),
    }


def series(length: int, columns: int, rho: float) -> Tensor:
    """Independent stationary AR(1) series of variance 1."""
    steps = torch.randn(length, columns)
    for t in range(1, length):
        steps[t] = rho * steps[t - 1] + math.sqrt(1 - rho * rho) * steps[t]
    return steps


def nearest_neighbour(features: Tensor, label: Tensor, training: Tensor, held_out: Tensor) -> float:
    """The share of held-out samples whose nearest training sample has the same label."""
    nearest = torch.cdist(features[held_out], features[training]).argmin(1)
    return float((label[training][nearest] == label[held_out]).double().mean())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
