"""Inputs a thousand times larger lower the largest usable learning rate a million times.

Linear regression without bias, loss ½·mean (X w − y)², X ~ N(0, 1) with `batch` × `width` entries, y = X·w* + noise,
w* ~ N(0, 1), noise ~ N(0, 0.1²). Gradient descent from w = 0, in float64. The curvature is H = XᵀX/batch and the steps
diverge as soon as lr > 2/λ_max(H). With the inputs multiplied by `scale` H grows by scale², so the critical rate falls
by scale²; the labels stay what they were. The critical rate is measured by bisection (does the distance from the
optimum grow in the last half of 400 steps?) and compared with 2/λ_max. The chart shows the loss after `n` steps at 61
rates, for both kinds of inputs. Beside it, exp(scale) in float16 and float32: what an output of that size does to a
naive softmax. Inputs, labels and noise are random.
Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp; Goodfellow, Bengio & Courville 2016, Deep Learning.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "输入放大与临界学习率", "en": "Scaled inputs and the critical learning rate"}
PARAMS = {
    "scale": {"zh": "输入放大的倍数", "en": "factor on the inputs", "ge": 1e-6, "le": 1e6},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1e12},
    "n": {"zh": "步数", "en": "steps", "ge": 1, "le": 1000},
    "width": {"zh": "特征数", "en": "features", "ge": 1, "le": 64},
    "batch": {"zh": "样本数", "en": "samples", "ge": 1, "le": 512},
}
COLUMNS = {
    "rate": {"zh": "学习率", "en": "learning rate"},
    "plain": {"zh": "损失，原来的输入", "en": "loss, inputs as they are"},
    "scaled": {"zh": "损失，放大的输入", "en": "loss, scaled inputs"},
}
METRICS = {
    "lr_crit": {"zh": "临界学习率，原来的输入", "en": "critical rate, inputs as they are"},
    "lr_crit_scaled": {"zh": "临界学习率，放大的输入", "en": "critical rate, scaled inputs"},
    "lr_crit_ratio": {"zh": "临界学习率之比", "en": "factor by which the critical rate falls"},
    "theory_lr_crit": {"zh": "理论值 2/λmax，原来的输入", "en": "2/λmax, inputs as they are"},
    "theory_lr_crit_scaled": {"zh": "理论值 2/λmax，放大的输入", "en": "2/λmax, scaled inputs"},
    "loss_start": {"zh": "训练前的损失", "en": "loss before training"},
    "loss_end": {"zh": "n 步后的损失，原来的输入", "en": "loss after n steps, inputs as they are"},
    "loss_end_scaled": {"zh": "n 步后的损失，放大的输入", "en": "loss after n steps, scaled inputs"},
    "exp_float16": {"zh": "float16 里的 exp(倍数)", "en": "exp(factor) in float16"},
    "exp_float32": {"zh": "float32 里的 exp(倍数)", "en": "exp(factor) in float32"},
}
CHART = {
    "transform": [{"fold": ["plain", "scaled"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "rate", "type": "quantitative", "scale": {"type": "log"}, "axis": {"format": ".0e"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    scale: float = 1000.0,
    lr: float = 0.1,
    n: int = 100,
    width: int = 8,
    batch: int = 64,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(batch, width, dtype=torch.float64)
    y = x @ torch.randn(width, dtype=torch.float64) + 0.1 * torch.randn(batch, dtype=torch.float64)
    theory, theory_scaled = (2 / torch.linalg.eigvalsh(a.T @ a / batch)[-1].item() for a in (x, scale * x))
    low, high = math.log10(min(theory, theory_scaled)) - 2, math.log10(max(theory, theory_scaled)) + 1
    rates = [10 ** (low + (high - low) * at / 60) for at in range(61)]
    plain, scaled = losses(x, y, [*rates, lr], n), losses(scale * x, y, [*rates, lr], n)
    for rate, one, other in zip(rates, plain, scaled, strict=False):  # the last loss is that at lr
        yield {"rate": rate, "plain": one, "scaled": other}
    measured, measured_scaled = critical(x), critical(scale * x)
    size = torch.tensor(scale)
    return {
        "lr_crit": measured,
        "lr_crit_scaled": measured_scaled,
        "lr_crit_ratio": measured / measured_scaled,
        "theory_lr_crit": theory,
        "theory_lr_crit_scaled": theory_scaled,
        "loss_start": 0.5 * y.square().mean().item(),
        "loss_end": plain[-1],
        "loss_end_scaled": scaled[-1],
        "exp_float16": size.half().exp().item(),
        "exp_float32": size.exp().item(),
    }


def losses(x: Tensor, y: Tensor, rates: list[float], n: int) -> list[float]:
    """The loss after n steps at each rate; the runs go side by side, one column of w each."""
    w = torch.zeros(x.shape[1], len(rates), dtype=torch.float64)
    lr = torch.tensor(rates, dtype=torch.float64)
    for _ in range(n):
        w = w - lr * (x.T @ (x @ w - y[:, None])) / len(x)
    left = x @ w - y[:, None]
    return [0.5 * loss.item() for loss in left.square().mean(0)]


def critical(x: Tensor) -> float:
    """The rate from which the error e ← e − lr·H e grows, by bisection over 24 decades and for all rates at once."""
    curvature = x.T @ x / len(x)
    start = curvature @ torch.ones(len(curvature), dtype=torch.float64)  # directions without curvature never move
    low, high = -18.0, 18.0
    for _ in range(10):  # 15 rates at a time: each round makes the interval 16 times shorter
        exponents = [low + (high - low) * at / 16 for at in range(1, 16)]
        lr = torch.tensor([10**e for e in exponents], dtype=torch.float64)
        error = start[:, None].repeat(1, len(exponents))
        half = error
        for step in range(400):
            error = error - lr * (curvature @ error)
            half = error if step == 199 else half
        before, after = ((curvature @ e).norm(dim=0) for e in (half, error))
        floor = 1e-10 * (curvature @ start).norm()  # below it there is nothing but rounding
        grew = [not shrank for shrank in (after <= before.maximum(floor)).tolist()]  # nan counts as grown
        first = grew.index(True) if True in grew else len(grew)
        low, high = low + (high - low) * first / 16, low + (high - low) * (first + 1) / 16
    return float(10 ** ((low + high) / 2))


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
