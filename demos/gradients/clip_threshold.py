"""Clip a little above the usual gradient norm: too high lets one bad batch ruin the run, too low makes training crawl.

Linear regression trained by SGD: y = x·w* + 0.1·N(0, 1), x ~ N(0, 1) in 20 dimensions, w* ~ N(0, 1), w starts at 0,
mean squared error, `batch` samples a step, n steps. Every 50th batch, from step 25 on, is bad: its inputs and targets
are `spike` times as large (a wrong unit, a bad recording), so that its gradient is spike² times as large. Four runs
see the same batches: not clipped, and clipped by norm at three thresholds taken from the gradient norms of the first
20 steps of the unclipped run: `quantile` of them (a reasonable choice), 1000 times the median (too high), and a
thousandth of it (too low). The error is ‖w − w*‖/‖w*‖ at the end: 1 means nothing learnt.
Source: Pascanu, Mikolov & Bengio 2013, who suggest to watch the norms over a number of updates.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "裁剪阈值取多少", "en": "Choosing a clipping threshold"}
PARAMS = {
    "n": {"zh": "训练步数", "en": "training steps", "ge": 40, "le": 2000},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 1, "le": 256},
    "spike": {"zh": "坏批次放大多少倍", "en": "bad batches are larger by", "ge": 1, "le": 10000},
    "quantile": {"zh": "阈值取梯度范数的哪个分位", "en": "threshold: quantile of the norms", "ge": 0, "le": 1},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "none": {"zh": "不裁剪", "en": "not clipped"},
    "chosen": {"zh": "按分位数裁剪", "en": "clipped at the quantile"},
    "high": {"zh": "阈值太高", "en": "threshold too high"},
    "low": {"zh": "阈值太低", "en": "threshold too low"},
}
METRICS = {
    "norm_median": {"zh": "前 20 步梯度范数的中位数", "en": "median gradient norm of the first 20 steps"},
    "norm_largest": {
        "zh": "按分位数裁剪时最大的梯度范数",
        "en": "largest gradient norm while clipping at the quantile",
    },
    "threshold": {"zh": "选用的阈值", "en": "threshold chosen"},
    "clipped_share": {"zh": "被裁剪的步数占比", "en": "fraction of the steps that were clipped"},
    "error_none": {"zh": "不裁剪：最后的误差", "en": "not clipped: final error"},
    "error_chosen": {"zh": "按分位数裁剪：最后的误差", "en": "clipped at the quantile: final error"},
    "error_high": {"zh": "阈值太高：最后的误差", "en": "threshold too high: final error"},
    "error_low": {"zh": "阈值太低：最后的误差", "en": "threshold too low: final error"},
}
CHART = {
    "transform": [{"fold": ["none", "chosen", "high", "low"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
DIMENSIONS, FIRST = 20, 20


def run(
    n: int = 300, lr: float = 0.05, batch: int = 32, spike: float = 100.0, quantile: float = 0.9
) -> Generator[Row, None, Metrics]:
    true = torch.randn(DIMENSIONS, dtype=torch.float64)
    batches = []
    for step in range(n):
        x = torch.randn(batch, DIMENSIONS, dtype=torch.float64)
        y = x @ true + 0.1 * torch.randn(batch, dtype=torch.float64)
        size = spike if step % 50 == 25 else 1.0
        batches.append((size * x, size * y))
    errors, norms = train(batches, true, lr, torch.inf)
    first = torch.tensor(norms[:FIRST], dtype=torch.float64)
    median, threshold = float(first.median()), float(first.quantile(quantile))
    curves = {"none": errors}
    curves["chosen"], norms = train(batches, true, lr, threshold)
    curves["high"], _ = train(batches, true, lr, 1000 * median)
    curves["low"], _ = train(batches, true, lr, median / 1000)
    for step in sorted({*range(0, n, max(1, n // 200)), n}):
        yield {"step": step} | {name: curve[step] for name, curve in curves.items()}
    errors_at_end: Metrics = {f"error_{name}": curve[n] for name, curve in curves.items()}
    return errors_at_end | {
        "norm_median": median,
        "norm_largest": max(norms),
        "threshold": threshold,
        "clipped_share": sum(norm > threshold for norm in norms) / n,
    }


def train(
    batches: list[tuple[Tensor, Tensor]], true: Tensor, lr: float, clip: float
) -> tuple[list[float], list[float]]:
    """The relative distance from w* before every step and after the last, and the gradient norms before clipping."""
    w = torch.zeros_like(true)
    errors, norms = [1.0], []
    for x, y in batches:
        gradient = 2 * x.T @ (x @ w - y) / len(y)
        norms.append(float(gradient.norm()))
        w = w - lr * gradient * min(1.0, clip / norms[-1] if norms[-1] else 1.0)
        errors.append(float((w - true).norm() / true.norm()))
    return errors, norms


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
