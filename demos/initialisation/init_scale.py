"""Weights that start too large overflow before the first update, and no rate helps; too small ones stand still.

A net of `layers` weight matrices, 8 - width - … - width - 1, without biases; W ~ N(0, m²·2/fan_in), so m = 1 is He's
scale; inputs N(0, 1), 64 samples, target x1·x2, mean squared error, `n` full-batch steps of gradient descent, all in
`dtype`. m runs through 0.01, 0.1, 0.5, 1, 2, 10, 100 and your `scale`. Inputs and weights are random, and the same for
every m but for the factor m.

Outcome: "overflow at the start" if the loss is not finite before any update; "diverged" if it is not finite later, or
ends above 1.05 times its start; "no progress" if it ends within 5 % of its start; "trained" if below 0.95 times it.
The halvings are counted for `scale` and for m = 2: the least j ≤ 40 for which all `n` steps at lr/2^j stay finite.
Theory: a ReLU layer multiplies the mean square by m² on average, so after L layers by m^(2L); float32 holds squares
up to 3.4e38. Source: He et al. 2015, Delving deep into rectifiers; Glorot & Bengio 2010.
"""

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import gelu

TITLE = {"zh": "初始权重多大合适", "en": "How large may the initial weights be"}
PARAMS = {
    "scale": {"zh": "初始权重是 He 尺度的几倍", "en": "initial weights, as a multiple of He's", "ge": 0, "le": 1e6},
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 200},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 1, "le": 256},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1e308},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 200},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "act": {"zh": "激活函数", "en": "activation"},
}
LIMITS = [{"product": ["layers", "n"], "le": 2500}, {"product": ["layers", "width", "width", "n"], "le": 10500000}]
COLUMNS = {
    "scale": {"zh": "初始权重（He 尺度的倍数）", "en": "initial weights (multiple of He's)"},
    "loss_start": {"zh": "开始时的损失", "en": "loss at the start"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "outcome": {"zh": "结局", "en": "outcome"},
}
METRICS = {
    "loss_start": {"zh": "所选尺度：开始时的损失", "en": "your scale: loss at the start"},
    "loss_end": {"zh": "所选尺度：最后的损失", "en": "your scale: loss at the end"},
    "loss_ratio": {"zh": "所选尺度：最后与开始的损失之比", "en": "your scale: loss at the end over the start"},
    "halvings": {"zh": "所选尺度：学习率减半几次才全程有限", "en": "your scale: halvings of lr until all is finite"},
    "rates_that_stay_finite": {
        "zh": "所选尺度：41 个学习率（lr 一直减半）中有几个不出 inf",
        "en": "your scale: of 41 rates, lr halved again and again, how many stay finite",
    },
    "small_ratio": {"zh": "尺度 0.01：最后与开始的损失之比", "en": "scale 0.01: loss at the end over the start"},
    "small_off_one": {
        "zh": "尺度 0.01：损失变化了几成（比值减 1）",
        "en": "scale 0.01: change of the loss, |ratio − 1|",
    },
    "he_loss_start": {"zh": "He 尺度：开始时的损失", "en": "He's scale: loss at the start"},
    "he_loss_end": {"zh": "He 尺度：最后的损失", "en": "He's scale: loss at the end"},
    "he_ratio": {"zh": "He 尺度：最后与开始的损失之比", "en": "He's scale: loss at the end over the start"},
    "two_loss_start": {"zh": "尺度 2：开始时的损失", "en": "scale 2: loss at the start"},
    "two_halvings": {"zh": "尺度 2：学习率减半几次才全程有限", "en": "scale 2: halvings of lr until all is finite"},
    "ten_loss_start": {"zh": "尺度 10：开始时的损失", "en": "scale 10: loss at the start"},
    "hundred_loss_start": {"zh": "尺度 100：开始时的损失", "en": "scale 100: loss at the start"},
    "n_overflow_at_start": {
        "zh": "七个尺度中一开始就溢出的个数",
        "en": "of the seven scales, how many overflow at the start",
    },
    "n_trained": {"zh": "七个尺度中训得动的个数", "en": "of the seven scales, how many train"},
}
WORDS = {
    "overflow at the start": {"zh": "一开始就溢出", "en": "overflow at the start"},
    "diverged": {"zh": "发散", "en": "diverged"},
    "no progress": {"zh": "没有进展", "en": "no progress"},
    "trained": {"zh": "训得动", "en": "trained"},
}
CHART = {
    "transform": [{"fold": ["loss_start", "loss_end"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "scale", "type": "quantitative", "scale": {"type": "log", "nice": False}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# what a ReLU layer does to the mean square on average: times scale²
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_ladder",
        "params": {"op": "multiply", "x": ["scale", "scale"], "n": ["layers"]},
    }
]

Row = dict[str, float | str]
Metrics = dict[str, float | None]
SCALES = (0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0)
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": gelu}


def run(
    scale: float = 100.0,
    layers: int = 20,
    width: int = 64,
    lr: float = 0.01,
    n: int = 40,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
    act: Literal["relu", "tanh", "sigmoid", "gelu"] = "relu",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(64, 8)
    y = (x[:, :1] * x[:, 1:2]).to(getattr(torch, dtype))
    he = [torch.randn(a, b) * math.sqrt(2 / a) for a, b in pairwise([8, *[width] * (layers - 1), 1])]

    def losses(m: float, rate: float) -> tuple[float, float]:
        return train(x.to(y.dtype), y, [(m * w).to(y.dtype).requires_grad_() for w in he], rate, n, act)

    def halvings(m: float) -> int | None:
        """The least j for which n steps at lr/2^j stay finite; None if there is none up to 40."""
        if not math.isfinite(losses(m, 0.0)[0]):
            return None
        return next((j for j in range(41) if math.isfinite(losses(m, lr / 2**j)[1])), None)

    found: dict[float, tuple[float, float]] = {}
    for m in sorted({*SCALES, scale}):
        found[m] = losses(m, lr)
        if m > 0:  # the axis is logarithmic
            yield {"scale": m, "loss_start": found[m][0], "loss_end": found[m][1], "outcome": outcome(*found[m])}
    own, small, he_scale = found[scale], found[0.01], found[1.0]
    outcomes = [outcome(*found[m]) for m in SCALES]
    own_halvings = halvings(scale)
    return {
        "loss_start": own[0],
        "loss_end": own[1],
        "loss_ratio": ratio(*own),
        "halvings": own_halvings,
        "rates_that_stay_finite": 0 if own_halvings is None else 41 - own_halvings,
        "small_ratio": ratio(*small),
        "small_off_one": abs(ratio(*small) - 1),
        "he_loss_start": he_scale[0],
        "he_loss_end": he_scale[1],
        "he_ratio": ratio(*he_scale),
        "two_loss_start": found[2.0][0],
        "two_halvings": own_halvings if scale == 2 else halvings(2.0),
        "ten_loss_start": found[10.0][0],
        "hundred_loss_start": found[100.0][0],
        "n_overflow_at_start": outcomes.count("overflow at the start"),
        "n_trained": outcomes.count("trained"),
    }


def train(x: Tensor, y: Tensor, weights: list[Tensor], lr: float, n: int, act: str) -> tuple[float, float]:
    """The loss before any update and after n of them, or where it is first not finite."""
    start = math.nan
    for step in range(n + 1):
        h = x
        for w in weights[:-1]:
            h = ACTIVATIONS[act](h @ w)
        loss = (h @ weights[-1] - y).pow(2).mean()
        start = loss.item() if step == 0 else start
        if step == n or not loss.isfinite():
            break
        with torch.no_grad():
            for w, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                w.sub_(lr * grad)
    return start, loss.item()


def ratio(start: float, end: float) -> float:
    """End over start; nan where either is not finite."""
    return end / start if math.isfinite(end) and 0 < start < math.inf else math.nan


def outcome(start: float, end: float) -> str:
    """What became of it, in the words above."""
    if not math.isfinite(start):
        return "overflow at the start"
    if not end <= 1.05 * start:
        return "diverged"
    return "trained" if end < 0.95 * start else "no progress"


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
