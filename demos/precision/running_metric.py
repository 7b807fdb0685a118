"""A metric averaged over many batches in bfloat16 or float16 stops moving; counted in Python floats it does not.

`n` batches of `batch` samples. Each has a loss of `x`·(1 + e^(−5k/n))·(1 + N(0, 1)/10), k its number, and correct
answers drawn with probability `accuracy`. In `dtype`, rounding after each operation, as a metric on the device does:
`mean_of_sum` = Σ loss / k, `incremental` = m + (loss − m)/k, and `ratio` = Σ correct / Σ samples. Beside it the same in
float64, which is what Python's floats and integers are.

Theory: a sum of terms t stops at the smallest power of two 2^e with t ≤ 2^(e−p), p being the bits of the significand
(11 float16, 8 bfloat16, 24 float32); the printed mean then falls as 1/k. The incremental mean stops when |loss − m|/k
is below half the gap at m. Σ samples stops at theory_count, and a smaller Σ correct may catch up with it: accuracy 1.
Random: losses, correct answers. Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, ch. 4.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "低精度里累计的指标", "en": "A metric accumulated in low precision"}
PARAMS = {
    "x": {"zh": "损失的终值", "en": "final loss", "ge": 1e-3, "le": 1000},
    "accuracy": {"zh": "真实准确率", "en": "true accuracy", "ge": 0, "le": 1},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 1, "le": 1024},
    "n": {"zh": "批数", "en": "batches", "ge": 2, "le": 20000},
    "dtype": {"zh": "累计用的类型", "en": "dtype of the accumulator"},
}
COLUMNS = {
    "step": {"zh": "批", "en": "batch"},
    "true": {"zh": "真实的平均损失", "en": "true mean loss"},
    "mean_of_sum": {"zh": "总和除以批数", "en": "sum over batches"},
    "incremental": {"zh": "递推平均", "en": "incremental mean"},
    "ratio": {"zh": "算得的准确率", "en": "computed accuracy"},
}
METRICS = {
    "true_mean": {"zh": "真实的平均损失", "en": "true mean loss"},
    "mean_of_sum": {"zh": "总和除以批数", "en": "sum over batches"},
    "incremental": {"zh": "递推平均", "en": "incremental mean"},
    "sum_rel_err": {"zh": "总和除以批数：相对误差", "en": "sum over batches: relative error"},
    "incremental_rel_err": {"zh": "递推平均：相对误差", "en": "incremental mean: relative error"},
    "sum_stalls_after": {"zh": "总和从这一批起不再变", "en": "the sum no longer changes after batch", "unit": "step"},
    "true_accuracy": {"zh": "真实准确率", "en": "true accuracy"},
    "ratio": {"zh": "算得的准确率", "en": "computed accuracy"},
    "ratio_error": {"zh": "准确率的误差", "en": "error of the accuracy"},
    "count": {"zh": "数到的样本数", "en": "samples counted"},
    "true_count": {"zh": "真实的样本数", "en": "samples in truth"},
    "theory_count": {"zh": "计数器停住的理论值", "en": "where a counter stops in theory"},
}
CHART = {
    "transform": [{"fold": ["true", "mean_of_sum", "incremental", "ratio"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "add", "n": 1000, "x": ["x"]}}]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    x: float = 0.3,
    accuracy: float = 0.8,
    batch: int = 32,
    n: int = 2000,
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    steps = torch.arange(1, n + 1)
    losses = x * (1 + torch.exp(-5 * steps / n)) * (1 + torch.randn(n) / 10)
    correct = torch.binomial(torch.full((n,), float(batch)), torch.full((n,), accuracy))
    terms = torch.stack([losses, correct, torch.full((n,), float(batch))], 1).to(form)
    wide = torch.stack([losses, correct, torch.full((n,), float(batch))], 1).double().cumsum(0)
    totals, mean = torch.zeros(3, dtype=form), torch.zeros((), dtype=form)
    last_change, every = 0, max(1, n // 200)
    for step in range(1, n + 1):
        before, term = totals, terms[step - 1]
        totals = totals + term
        mean = mean + (term[0] - mean) / step
        last_change = step if totals[0] != before[0] else last_change
        if step % every == 0 or step in (1, n):
            yield {
                "step": step,
                "true": wide[step - 1, 0].item() / step,
                "mean_of_sum": totals[0].item() / step,
                "incremental": mean.item(),
                "ratio": ratio(totals),
            }
    true_mean, true_ratio = wide[-1, 0].item() / n, ratio(wide[-1])
    return {
        "true_mean": true_mean,
        "mean_of_sum": totals[0].item() / n,
        "incremental": mean.item(),
        "sum_rel_err": abs(totals[0].item() / n / true_mean - 1),
        "incremental_rel_err": abs(mean.item() / true_mean - 1),
        "sum_stalls_after": last_change if last_change < n else None,
        "true_accuracy": true_ratio,
        "ratio": ratio(totals),
        "ratio_error": abs(ratio(totals) - true_ratio),
        "count": totals[2].item(),
        "true_count": wide[-1, 2].item(),
        "theory_count": 2.0 ** math.ceil(math.log2(batch) + precision(form)),
    }


def ratio(totals: Tensor) -> float:
    """Correct answers over samples, from the counts."""
    return float(totals[1]) / float(totals[2])


def precision(form: torch.dtype) -> int:
    """The bits of the significand."""
    return 1 - round(math.log2(torch.finfo(form).eps))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
