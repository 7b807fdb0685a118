"""A log that leaves nan out of its mean prints loss 0.0 for a dead run; the gradient norm beside it says nan.

Linear regression y = x·w* + N(0, 1)/2 in 8 dimensions, w starts at 0, x and w* ~ N(0, 1), mean squared error on
batches of 32, `n` steps of SGD at rate 0.05. At step `bad_step` (counted from 1) the batch holds one nan. `case` says
what follows. poisoned: the step is made and every weight is nan from then on. skipped: the step is left out, the
weights stay good. no_labels: from that step on no sample has a label; the loss is the sum over none of them divided by
max(0, 1), that is 0, and so is its gradient. healthy: no nan in the batch.

The log is that of Hugging Face's Trainer: every `every` steps it prints the sum of the losses since the last line over
their number, and the gradient norm of the last step. With `keep_nan` off (logging_nan_inf_filter, its default) a loss
that is nan or inf does not enter the sum; instead the sum S of this window grows by S/(1 + k), k being the steps that
are in the window already. A window without any finite loss has S = 0 and is printed as 0.0. Data are random.
Source: Wolf et al. 2020, Transformers: state-of-the-art natural language processing.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "日志滤掉 nan：损失显示 0.0", "en": "A log that filters nan shows loss 0.0"}
PARAMS = {
    "case": {"zh": "发生了什么", "en": "what happens"},
    "every": {"zh": "隔几步记一行", "en": "steps between two lines", "unit": "step", "ge": 1, "le": 100},
    "keep_nan": {"zh": "日志保留 nan", "en": "nan stays in the log"},
    "bad_step": {"zh": "出事的步", "en": "the step of the fault", "unit": "step", "ge": 1, "le": 1000},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 10, "le": 1000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "printed": {"zh": "日志里的损失", "en": "loss in the log"},
    "true": {"zh": "真实的损失", "en": "true loss"},
    "grad_norm": {"zh": "梯度范数", "en": "gradient norm"},
}
METRICS = {
    "printed_end": {"zh": "最后一行日志的损失", "en": "loss in the last line of the log"},
    "printed_norm_end": {"zh": "最后一行日志的梯度范数", "en": "gradient norm in that line"},
    "true_end": {"zh": "最后一步真实的损失", "en": "true loss of the last step"},
    "first_nan_step": {"zh": "真实的损失首次是 nan", "en": "true loss first nan", "unit": "step"},
    "first_zero_line": {"zh": "日志首次出现 0.0", "en": "log first says 0.0", "unit": "step"},
    "nan_lines": {"zh": "损失是 nan 的日志行数", "en": "lines of the log with a nan loss"},
    "zero_lines": {"zh": "损失是 0 的日志行数", "en": "lines of the log with loss 0"},
    "lines": {"zh": "日志行数", "en": "lines of the log"},
    "nan_weights": {"zh": "最后是 nan 的权重比例", "en": "fraction of nan weights at the end"},
}
CHART = {
    "transform": [{"fold": ["printed", "true", "grad_norm"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    case: Literal["poisoned", "skipped", "no_labels", "healthy"] = "poisoned",
    every: int = 10,
    keep_nan: bool = False,
    bad_step: int = 55,
    n: int = 120,
) -> Generator[Row, None, Metrics]:
    target, w = torch.randn(8), torch.zeros(8)
    total, inside = 0.0, 0  # sum of the losses of this window, steps in it
    first_nan = None
    lines: list[Row] = []
    true = math.nan
    for step in range(1, n + 1):
        x, noise = torch.randn(32, 8), torch.randn(32) / 2
        if step == bad_step and case in ("poisoned", "skipped"):
            x[0, 0] = math.nan
        labels = 0 if case == "no_labels" and step >= bad_step else 32
        true, gradient = loss_and_gradient(w, x, x @ target + noise, labels)
        if not (case == "skipped" and not gradient.isfinite().all()):
            w = w - 0.05 * gradient
        first_nan = step if first_nan is None and math.isnan(true) else first_nan
        total += true if keep_nan or math.isfinite(true) else total / (1 + inside)
        inside += 1
        if inside == every or step == n:
            norm = gradient.double().norm().item()
            lines.append({"step": step, "printed": total / inside, "true": true, "grad_norm": norm})
            yield lines[-1]
            total, inside = 0.0, 0
    zeros = [line["step"] for line in lines if line["printed"] == 0]
    return {
        "printed_end": lines[-1]["printed"],
        "printed_norm_end": lines[-1]["grad_norm"],
        "true_end": true,
        "first_nan_step": first_nan,
        "first_zero_line": zeros[0] if zeros else None,
        "nan_lines": sum(math.isnan(line["printed"]) for line in lines),
        "zero_lines": len(zeros),
        "lines": len(lines),
        "nan_weights": w.isnan().double().mean().item(),
    }


def loss_and_gradient(w: Tensor, x: Tensor, y: Tensor, labels: int) -> tuple[float, Tensor]:
    """Of the mean squared error over the first `labels` samples; 0 if there are none."""
    error = (x @ w - y)[:labels]
    count = max(labels, 1)
    return error.double().square().sum().item() / count, 2 * error @ x[:labels] / count


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
