"""A random split of a time series lets the model look at the neighbours of the test points: its error is too small.

x_t = phi·x_{t−1} + N(0, 1), stationary from the start (variance γ₀ = 1/(1 − phi²)), t = 1 … `n`. The "model" knows
nothing but time: it predicts a test point by the training point nearest in time (the earlier of two). `share` of the
points are tested: drawn at random, or the last ones. Two points k apart differ by 2·γ₀·(1 − phi^k) in mean square, so
the expected error of each split is known exactly given the distances. A gap of `gap` points between training and test
data, on both sides of every test point, is left out of the training (purging); gap = 0 leaves nothing out.
Source: Shimodaira 2000, Improving predictive inference under covariate shift (why the test must resemble the use).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "时间序列：随机划分与按时间划分", "en": "Time series: a random split and a split by time"}
PARAMS = {
    "n": {"zh": "序列长度", "en": "length of the series", "unit": "step", "ge": 20, "le": 20000},
    "phi": {"zh": "自相关系数 φ", "en": "autocorrelation φ", "ge": -0.9999, "le": 0.9999},
    "share": {"zh": "测试集占比", "en": "fraction of test points", "ge": 0.05, "le": 0.5},
    "gap": {"zh": "测试点两侧留空", "en": "gap around test points", "unit": "step", "ge": 0, "le": 1000},
}
COLUMNS = {
    "step": {"zh": "时刻", "en": "time"},
    "series": {"zh": "曲线", "en": "curve"},
    "value": {"zh": "数值", "en": "value"},
}
METRICS = {
    "random_mse": {"zh": "随机划分：测试误差", "en": "random split: test error"},
    "chronological_mse": {"zh": "按时间划分：测试误差", "en": "split by time: test error"},
    "mse_ratio": {"zh": "按时间划分是随机划分的几倍", "en": "error, by time over random"},
    "theory_random_mse": {"zh": "随机划分：误差的期望", "en": "random split: expected error"},
    "theory_chronological_mse": {"zh": "按时间划分：误差的期望", "en": "split by time: expected error"},
    "variance": {"zh": "序列的理论方差", "en": "variance of the series in theory"},
    "mean_distance_random": {
        "zh": "随机划分：到训练点的平均距离",
        "en": "random split: distance to training",
        "unit": "step",
    },
    "mean_distance_chronological": {"zh": "按时间划分：平均距离", "en": "split by time: distance", "unit": "step"},
}
WORDS = {
    "series": {"zh": "序列", "en": "the series"},
    "random": {"zh": "随机划分的预测", "en": "prediction, random split"},
    "by time": {"zh": "按时间划分的预测", "en": "prediction, split by time"},
}
CHART = {
    "mark": {"type": "line", "point": {"size": 8}},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]


def run(n: int = 1000, phi: float = 0.99, share: float = 0.2, gap: int = 0) -> Generator[Row, None, Metrics]:
    variance = 1 / (1 - phi**2)
    level = math.sqrt(variance) * float(torch.randn(()))
    values = []
    for shock in torch.randn(n).tolist():
        values.append(level)
        level = phi * level + shock
    x = torch.tensor(values, dtype=torch.float64)
    tested = max(1, round(share * n))
    chosen = torch.randperm(n)[:tested].sort().values
    last = torch.arange(n - tested, n)
    every = math.ceil(n / 300)
    for t in range(0, n, every):
        yield {"step": t, "series": "series", "value": values[t]}
    mse: dict[str, float | None] = {}
    theory: dict[str, float | None] = {}
    far: dict[str, float | None] = {}
    for name, test in (("random", chosen), ("by time", last)):
        train = training(n, test, gap)
        if not len(train):
            mse[name] = theory[name] = far[name] = None  # the gap has left nothing to train on
            continue
        near = nearest(train, test)
        distance = (test - near).abs().double()
        mse[name] = float((x[test] - x[near]).square().mean())
        power = phi**distance if phi >= 0 else abs(phi) ** distance * (1 - 2 * (distance % 2))
        theory[name] = float((2 * variance * (1 - power)).mean())
        far[name] = float(distance.mean())
        for t, known in list(zip(test.tolist(), near.tolist(), strict=True))[:: math.ceil(len(test) / 150)]:
            yield {"step": t, "series": name, "value": values[known]}
    known, later = mse["random"], mse["by time"]
    return {
        "random_mse": known,
        "chronological_mse": later,
        "mse_ratio": later / known if known and later is not None else None,
        "theory_random_mse": theory["random"],
        "theory_chronological_mse": theory["by time"],
        "variance": variance,
        "mean_distance_random": far["random"],
        "mean_distance_chronological": far["by time"],
    }


def training(n: int, test: Tensor, gap: int) -> Tensor:
    """Every time that is not tested and further than `gap` from all that are."""
    steps = torch.zeros(n + 1, dtype=torch.long)
    steps.index_add_(0, (test - gap).clamp(min=0), torch.ones_like(test))
    steps.index_add_(0, (test + gap + 1).clamp(max=n), -torch.ones_like(test))
    return torch.nonzero(steps.cumsum(0)[:n] == 0).flatten()


def nearest(train: Tensor, test: Tensor) -> Tensor:
    """The training time nearest to each test time, the earlier of two equally near."""
    after = torch.searchsorted(train, test)
    left, right = train[(after - 1).clamp(min=0)], train[after.clamp(max=len(train) - 1)]
    return torch.where((right - test).abs() < (test - left).abs(), right, left)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
