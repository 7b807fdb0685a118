"""Normalising each window takes its level away: right if the level is noise or drifts, fatal if the level is the label.

Windows of `length` values: level + a·bump + N(0, 1)/2, with a bump of size 1 in the middle third, a = ±1 at random,
level ~ N(0, `spread`²). The class is the sign of the bump (`label` = shape) or of the level (level). 512 windows to
train on, 512 to test, whose level is raised by `shift`, the drift. Each window is normalised:
none     not at all
running  each time step by mean and deviation over the training windows: batch norm in eval mode
batch    each time step by mean and deviation over the windows at hand: batch norm in train mode, or recomputed
window   by its own mean and deviation: layer norm, instance norm
Then a ridge regression (weight 1) with intercept onto ±1 is the classifier. running is a fixed linear map, so it
differs from none by no more than the ridge. Accuracies on the test windows. Rows: `shift` in ten steps from 0.
Random: windows. Source: Kim et al. 2022, Reversible instance normalization (RevIN), ICLR; Ba, Kiros & Hinton 2016.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "时间序列：BN 还是 LN", "en": "Time series: batch norm or layer norm"}
PARAMS = {
    "label": {"zh": "类别由什么决定", "en": "what the class is"},
    "spread": {"zh": "水平的标准差", "en": "deviation of the level", "ge": 0, "le": 100},
    "shift": {"zh": "测试时水平的漂移", "en": "drift of the level at test time", "ge": 0, "le": 100},
    "length": {"zh": "窗口长度", "en": "length of a window", "ge": 6, "le": 128},
}
COLUMNS = {
    "shift": {"zh": "漂移", "en": "drift"},
    "running": {"zh": "BN，训练统计量", "en": "BN, training statistics"},
    "batch": {"zh": "BN，当前批的统计量", "en": "BN, statistics of the batch"},
    "window": {"zh": "LN，每个窗口自己的", "en": "LN, each window's own"},
}
METRICS = {
    "none_accuracy": {"zh": "不归一化：准确率", "en": "none: accuracy"},
    "running_accuracy": {"zh": "BN，训练统计量：准确率", "en": "BN, training statistics: accuracy"},
    "batch_accuracy": {"zh": "BN，当前批：准确率", "en": "BN, statistics of the batch: accuracy"},
    "window_accuracy": {"zh": "LN：准确率", "en": "LN: accuracy"},
    "level_left": {"zh": "LN 后窗口均值的最大绝对值", "en": "LN: largest mean of a window"},
}
CHART = {
    "transform": [{"fold": ["running", "batch", "window"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "shift", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("none", "running", "batch", "window")


def run(
    label: Literal["level", "shape"] = "level", spread: float = 1.0, shift: float = 0.0, length: int = 24
) -> Generator[Row, None, Metrics]:
    (x, y), (x_test, y_test) = windows(label, spread, length), windows(label, spread, length)
    solved = {way: fit(normalised(way, x, x), y) for way in WAYS}

    def accuracy(way: str, drift: float) -> float:
        called = with_ones(normalised(way, x_test + drift, x)) @ solved[way]
        return float(((called > 0) == (y_test > 0)).double().mean().item())

    for k in range(11):
        yield {"shift": shift * k / 10} | {way: accuracy(way, shift * k / 10) for way in WAYS[1:]}
    return {f"{way}_accuracy": accuracy(way, shift) for way in WAYS} | {
        "level_left": normalised("window", x_test, x).mean(1).abs().max().item()
    }


def windows(label: str, spread: float, length: int) -> tuple[Tensor, Tensor]:
    """512 windows and their classes, ±1."""
    level, sign = spread * torch.randn(512, 1).double(), (torch.rand(512, 1) > 0.5).double() * 2 - 1
    bump = torch.zeros(length).double()
    bump[length // 3 : 2 * length // 3] = 1
    x = level + sign * bump + torch.randn(512, length).double() / 2
    return x, (level.sign() if label == "level" else sign)[:, 0]


def normalised(way: str, x: Tensor, train: Tensor) -> Tensor:
    """Windows × time steps, normalised in this way."""
    if way == "none":
        return x
    reference, axis = {"running": (train, 0), "batch": (x, 0), "window": (x, 1)}[way]
    deviation = reference.std(axis, correction=0, keepdim=True)
    return (x - reference.mean(axis, keepdim=True)) / (deviation + 1e-5)


def fit(x: Tensor, y: Tensor) -> Tensor:
    """The weights of the ridge regression, intercept last."""
    a = with_ones(x)
    return torch.linalg.solve(a.T @ a + torch.eye(a.shape[1]).double(), a.T @ y)


def with_ones(x: Tensor) -> Tensor:
    """A column of ones behind the last."""
    return torch.cat([x, torch.ones(len(x), 1).double()], 1)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
