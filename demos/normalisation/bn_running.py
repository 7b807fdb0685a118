"""In eval() BN uses running averages: after n steps with momentum m they have come 1 − (1−m)^n of the way, no more.

A fresh torch.nn.BatchNorm1d(`width`) sees `n` batches x ~ N(mean, std²), `batch` × `width`, in training mode; nothing
is trained. The running mean starts at 0, the running variance at 1; each batch moves them by the fraction m
(`momentum`) towards its own mean and (unbiased) variance. mean_ratio is the running mean over the true mean, both
averaged over the units. Then one more batch of 4096 samples goes through the layer in eval mode and in train mode;
means are averaged over samples and units, variances are over the samples, averaged over the units. In expectation the
running mean is p·mean and the running variance (1−p) + p·std² with p = 1 − (1−m)^n; the running mean of one unit
scatters by std/√batch·√(m/(2−m)·(1 − (1−m)^(2n))). A second layer keeps plain (cumulative) averages, momentum=None in
PyTorch. Batches are random. Source: Ioffe & Szegedy 2015, Batch normalization; PyTorch's documentation of BatchNorm1d.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

TITLE = {"zh": "BN 的滑动平均：train 与 eval", "en": "BN's running averages: train and eval"}
PARAMS = {
    "n": {"zh": "训练步数", "en": "training steps", "ge": 1, "le": 2000},
    "momentum": {"zh": "动量 m", "en": "momentum m", "ge": 0, "le": 1},
    "mean": {"zh": "输入的均值", "en": "mean of the inputs", "ge": -1e6, "le": 1e6},
    "std": {"zh": "输入的标准差", "en": "standard deviation of the inputs", "ge": 0, "le": 1e6},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 2, "le": 512},
    "width": {"zh": "单元数", "en": "units", "ge": 1, "le": 128},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "running": {"zh": "滑动平均 / 真均值", "en": "running mean / true mean"},
    "theory": {"zh": "1 − (1−m)^n", "en": "1 − (1−m)^n"},
    "cumulative": {"zh": "累计平均 / 真均值", "en": "cumulative mean / true mean"},
}
METRICS = {
    "mean_ratio": {"zh": "滑动均值 / 真均值", "en": "running mean over true mean"},
    "theory_ratio": {"zh": "理论值 1 − (1−m)^n", "en": "in theory, 1 − (1−m)^n"},
    "ratio_error": {"zh": "与理论值之差", "en": "distance from theory"},
    "running_var": {"zh": "滑动方差", "en": "running variance"},
    "theory_running_var": {"zh": "滑动方差的理论值", "en": "running variance in theory"},
    "eval_mean": {"zh": "eval 模式输出的均值", "en": "mean of the output in eval mode"},
    "eval_abs_mean": {"zh": "eval 模式输出的 |均值|", "en": "|mean| of the output in eval mode"},
    "eval_var": {"zh": "eval 模式输出的方差", "en": "variance of the output in eval mode"},
    "train_abs_mean": {"zh": "train 模式输出的 |均值|", "en": "|mean| of the output in train mode"},
    "train_var": {"zh": "train 模式输出的方差", "en": "variance of the output in train mode"},
    "steps_to_99": {"zh": "走完 99% 要几步", "en": "steps until 99 % of the way", "unit": "step"},
    "unit_noise": {"zh": "各单元滑动均值的散布 / σ", "en": "scatter of the running mean between units, over σ"},
    "theory_unit_noise": {"zh": "散布的理论值 / σ", "en": "that scatter in theory"},
    "cumulative_ratio": {"zh": "累计平均 / 真均值", "en": "cumulative mean over true mean"},
}
CHART = {
    "transform": [{"fold": ["running", "theory", "cumulative"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    n: int = 10,
    momentum: float = 0.1,
    mean: float = 5.0,
    std: float = 3.0,
    batch: int = 64,
    width: int = 32,
) -> Generator[Row, None, Metrics]:
    layer, cumulative = nn.BatchNorm1d(width, momentum=momentum), nn.BatchNorm1d(width, momentum=None)
    every = max(1, n // 200)
    yield {"step": 0, "running": 0.0, "theory": 0.0, "cumulative": 0.0}
    with torch.no_grad():
        for step in range(1, n + 1):
            x = mean + std * torch.randn(batch, width)
            layer(x)
            cumulative(x)
            if step % every == 0 or step == n:
                row: Row = {"step": step, "theory": 1 - (1 - momentum) ** step}
                if mean:
                    row |= {
                        "running": kept(layer.running_mean).mean().item() / mean,
                        "cumulative": kept(cumulative.running_mean).mean().item() / mean,
                    }
                yield row
        fresh = mean + std * torch.randn(4096, width)
        in_eval, in_train = layer.eval()(fresh).double(), batch_norm(fresh, None, None, training=True).double()
    went, middle = 1 - (1 - momentum) ** n, kept(layer.running_mean)
    steady = momentum / (2 - momentum) * (1 - (1 - momentum) ** (2 * n))
    slow = 0 < momentum < 1
    ratio = middle.mean().item() / mean if mean else None
    return {
        "mean_ratio": ratio,
        "theory_ratio": went,
        "ratio_error": None if ratio is None else abs(ratio - went),
        "running_var": kept(layer.running_var).mean().item(),
        "theory_running_var": (1 - went) + went * std**2,
        "eval_mean": in_eval.mean().item(),
        "eval_abs_mean": in_eval.mean().abs().item(),
        "eval_var": in_eval.var(0, correction=0).mean().item(),
        "train_abs_mean": in_train.mean().abs().item(),
        "train_var": in_train.var(0, correction=0).mean().item(),
        "steps_to_99": math.ceil(math.log(0.01) / math.log1p(-momentum)) if slow else 1 if momentum else None,
        "unit_noise": middle.std().item() / std if std and width > 1 else None,
        "theory_unit_noise": math.sqrt(steady / batch),
        "cumulative_ratio": kept(cumulative.running_mean).mean().item() / mean if mean else None,
    }


def kept(average: Tensor | None) -> Tensor:
    """A running average of the layer, in float64."""
    assert average is not None
    return average.double()


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
