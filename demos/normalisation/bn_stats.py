"""Batch normalisation makes each unit's mean 0 and variance σ²/(σ²+ε) over the batch; ReLU then undoes the zero mean.

x ~ N(mean, std²), float32, `batch` samples × `width` units; z = (x − mean of the batch)/√(σ² + eps) with γ = 1 and
β = 0, as torch.nn.functional.batch_norm in training mode does it; then relu(z). Means and variances (divided by the
number of samples) are taken over the batch, unit by unit, in float64, and averaged over the units; max_abs_mean is the
worst unit. theory_var is σ²/(σ² + eps) with the σ² of this batch. After ReLU, for z ~ N(0, v): mean √(v/2π), variance
v·(1/2 − 1/2π).

PyTorch refuses ε = 0; 1e-38 stands for it. With one sample there is no variance and PyTorch raises an error: `refused`
is 1 and everything after BN is missing. With two samples each unit is ±d/√(d² + eps), d being half their difference:
±1 whatever the numbers were (median_abs).
Source: Ioffe & Szegedy 2015, Batch normalization.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

TITLE = {"zh": "批量归一化之后的均值与方差", "en": "Mean and variance after batch normalisation"}
PARAMS = {
    "batch": {"zh": "批量大小", "en": "batch size", "unit": "sample", "ge": 1, "le": 512},
    "width": {"zh": "单元数", "en": "units", "unit": "unit", "ge": 1, "le": 512},
    "mean": {"zh": "输入的均值", "en": "mean of the inputs", "ge": -1e30, "le": 1e30, "nonfinite": True},
    "std": {"zh": "输入的标准差", "en": "standard deviation of the inputs", "ge": 0, "le": 1e30},
    "eps": {"zh": "分母里的 ε", "en": "ε in the denominator", "ge": 0, "le": 1},
}
COLUMNS = {
    "unit": {"zh": "第几个单元", "en": "unit"},
    "input_mean": {"zh": "输入的均值", "en": "mean of the input"},
    "bn_mean": {"zh": "BN 之后的均值", "en": "mean after BN"},
    "bn_var": {"zh": "BN 之后的方差", "en": "variance after BN"},
    "relu_mean": {"zh": "再过 ReLU 的均值", "en": "mean after ReLU"},
    "relu_var": {"zh": "再过 ReLU 的方差", "en": "variance after ReLU"},
}
METRICS = {
    "refused": {"zh": "PyTorch 报错（1 = 是）", "en": "PyTorch raises an error (1 = yes)"},
    "max_abs_mean": {"zh": "BN 之后：|均值| 最大的单元", "en": "after BN: largest |mean| of a unit"},
    "var": {"zh": "BN 之后：方差", "en": "after BN: variance"},
    "theory_var": {"zh": "BN 之后：方差的理论值 σ²/(σ²+ε)", "en": "after BN: variance in theory, σ²/(σ²+ε)"},
    "var_error": {"zh": "BN 之后：方差偏离 1 多少", "en": "after BN: how far the variance is from 1"},
    "median_abs": {"zh": "BN 之后：|z| 的中位数", "en": "after BN: median of |z|"},
    "after_relu_mean": {"zh": "再过 ReLU：均值", "en": "after ReLU: mean"},
    "theory_after_relu_mean": {"zh": "再过 ReLU：均值的理论值", "en": "after ReLU: mean in theory"},
    "after_relu_var": {"zh": "再过 ReLU：方差", "en": "after ReLU: variance"},
    "theory_after_relu_var": {"zh": "再过 ReLU：方差的理论值", "en": "after ReLU: variance in theory"},
}
CHART = {
    "transform": [{"fold": ["input_mean", "bn_mean", "bn_var", "relu_mean", "relu_var"], "as": ["series", "value"]}],
    "mark": {"type": "point", "filled": True},
    "encoding": {
        "x": {"field": "unit", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    batch: int = 64,
    width: int = 32,
    mean: float = 5.0,
    std: float = 3.0,
    eps: float = 1e-5,
) -> Generator[Row, None, Metrics]:
    x = mean + std * torch.randn(batch, width)
    every = math.ceil(width / 100)
    try:
        z = batch_norm(x, None, None, training=True, eps=max(eps, 1e-38))
    except ValueError:  # "Expected more than 1 value per channel when training"
        for unit in range(0, width, every):
            yield {"unit": unit + 1, "input_mean": x[0, unit].item()}
        return dict.fromkeys(METRICS) | {"refused": 1}
    before, after, behind = over_batch(x), over_batch(z), over_batch(z.relu())
    for unit in range(0, width, every):
        yield {
            "unit": unit + 1,
            "input_mean": before[0][unit].item(),
            "bn_mean": after[0][unit].item(),
            "bn_var": after[1][unit].item(),
            "relu_mean": behind[0][unit].item(),
            "relu_var": behind[1][unit].item(),
        }
    var = after[1].mean().item()
    theory = (before[1] / (before[1] + eps)).mean().item()
    return {
        "refused": 0,
        "max_abs_mean": after[0].abs().max().item(),
        "var": var,
        "theory_var": theory,
        "var_error": abs(var - 1),
        "median_abs": z.double().abs().median().item(),
        "after_relu_mean": behind[0].mean().item(),
        "theory_after_relu_mean": math.sqrt(theory / (2 * math.pi)),
        "after_relu_var": behind[1].mean().item(),
        "theory_after_relu_var": theory * (0.5 - 1 / (2 * math.pi)),
    }


def over_batch(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every unit over the batch, in float64."""
    wide = values.double()
    return wide.mean(0), wide.var(0, correction=0)


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
