"""A forward hook that asks for finite numbers finds the layer and the step; asking for nan finds a later layer.

A net of `layers` blocks Linear(16, 16) - ReLU and a Linear(16, 1) after them, He initialisation, is trained by plain
gradient descent with learning rate 0.01 on 32 samples (inputs N(0, 1), target the first feature, mean squared error).
From step `bad_step` on (steps count from 0) one fault is there, in block `bad_layer` (at most `layers`), by `cause`:
log: the block's output is log(h − 1), nan where h < 1. overflow: its output times 1e38 and times 1e38, inf where h > 0,
and −inf + inf is nan one layer on. weights: one of its weights is nan, as after a bad update. data: one number of the
inputs is nan. root: the distance between h and h itself is added to its output, that is 0, but the
derivative of the root there is 0 · inf. inf_loss: inf is added to the loss, whose gradient stays good. none: no
fault.

Measured at every step, as hooks would: the first block whose output is not finite, the first whose output is nan,
whether that block's inputs and weights were finite; then loss and gradients. A gradient counts for the last block that
has a bad one, for the backward pass starts at the end. detect_anomaly runs once more through the last step: it raises
at the first backward function that returns a nan, and names that function. If the forward pass was nan already, that is
the one of the loss (PowBackward0), far from the fault; if only the backward pass goes bad it is the one at fault
(MulBackward0 for 0 · inf, SqrtBackward0 for 0/0). Training stops after that step. Random: inputs and weights.
Source: Goldberg 1991.
"""

import math
import warnings
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "nan 从哪一层、哪一步开始", "en": "In which layer and at which step nan begins"}
PARAMS = {
    "layers": {"zh": "层数", "en": "blocks", "unit": "layer", "ge": 2, "le": 50},
    "bad_layer": {"zh": "故障在第几层", "en": "block with the fault", "unit": "layer", "ge": 1, "le": 50},
    "bad_step": {"zh": "故障从第几步开始", "en": "step from which it is there", "unit": "step", "ge": 0, "le": 100},
    "cause": {"zh": "故障", "en": "fault"},
}
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "output": {"zh": "输出有限的比例", "en": "fraction of finite outputs"},
    "gradient": {"zh": "梯度有限的比例", "en": "fraction of finite gradients"},
    "update": {"zh": "更新后权重有限的比例", "en": "fraction of finite weights after the update"},
    "anomaly": {"zh": "异常检测报告的函数", "en": "function named by detect_anomaly"},
}
METRICS = {
    "hook_step": {"zh": "钩子发现的步数", "en": "step at which the hook speaks", "unit": "step"},
    "hook_layer": {"zh": "输出最先不是有限数的层", "en": "first layer with a non-finite output", "unit": "layer"},
    "nan_layer": {"zh": "输出最先是 nan 的层", "en": "first layer with a nan output", "unit": "layer"},
    "nan_lag": {"zh": "只查 nan 会晚几层", "en": "layers that a search for nan comes too late", "unit": "layer"},
    "input_finite": {"zh": "那一层的输入是否有限", "en": "the input of that layer is finite"},
    "weights_finite": {"zh": "那一层的权重是否有限", "en": "the weights of that layer are finite"},
    "loss": {"zh": "那一步的损失", "en": "loss at that step"},
    "gradient_step": {"zh": "梯度首次坏掉", "en": "first step with a bad gradient", "unit": "step"},
    "gradient_layer": {"zh": "反向最先坏掉的层", "en": "layer where the backward pass goes bad", "unit": "layer"},
    "bad_gradient_layers": {"zh": "梯度坏掉的层数", "en": "layers with bad gradients", "unit": "layer"},
    "bad_weight_layers": {"zh": "更新之后权重坏掉的层数", "en": "layers with bad weights after it", "unit": "layer"},
    "anomaly_raised": {"zh": "异常检测是否报错", "en": "detect_anomaly raises"},
    "anomaly_blames_loss": {"zh": "它怪的是不是损失", "en": "it blames the loss"},
}
CHART = {
    "transform": [{"fold": ["output", "gradient", "update"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
WIDTH, SAMPLES, RATE, STEPS = 16, 32, 0.01, 12
OF_THE_LOSS = "PowBackward0"


def run(
    layers: int = 8,
    bad_layer: int = 4,
    bad_step: int = 5,
    cause: Literal["log", "overflow", "weights", "data", "root", "inf_loss", "none"] = "overflow",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, WIDTH)
    y = x[:, :1].clone()
    sizes = [WIDTH] * layers + [1]
    weights = [(torch.randn(WIDTH, size) * math.sqrt(2 / WIDTH)).requires_grad_() for size in sizes]
    bad_layer = min(bad_layer, layers)
    for step in range(bad_step + STEPS):
        fault = cause if step >= bad_step else "none"
        if fault == "data" and step == bad_step:
            x[SAMPLES // 2, 0] = math.nan
        if fault == "weights" and step == bad_step:
            with torch.no_grad():
                weights[bad_layer - 1][0, 0] = math.nan
        outputs = forward(x, weights, bad_layer, fault)
        loss = loss_of(outputs[-1], y, fault)
        grads = torch.autograd.grad(loss, weights)
        before = [w.detach().clone() for w in weights]
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w.sub_(RATE * g)
        good = [finite_share(out) == 1 for out in outputs]
        if not (all(good) and loss.isfinite() and all(finite_share(g) == 1 for g in grads)):
            break
    anomaly = named_by_anomaly(x, before, y, bad_layer, fault)
    for i, (out, g, w) in enumerate(zip(outputs, grads, weights, strict=True), 1):
        yield {"layer": i, "output": finite_share(out), "gradient": finite_share(g), "update": finite_share(w),
               "anomaly": anomaly or "-"}  # fmt: skip
    at = good.index(False) if False in good else None
    first_nan = next((i for i, out in enumerate(outputs, 1) if out.isnan().any()), None)
    bad_grads = [i for i, g in enumerate(grads, 1) if finite_share(g) < 1]
    return {
        "hook_step": step if at is not None else None,
        "hook_layer": None if at is None else at + 1,
        "nan_layer": first_nan,
        "nan_lag": None if at is None or first_nan is None else first_nan - at - 1,
        "input_finite": None if at is None else int(at > 0 or finite_share(x) == 1),
        "weights_finite": None if at is None else int(finite_share(before[at]) == 1),
        "loss": loss.item(),
        "gradient_step": step if bad_grads else None,
        "gradient_layer": max(bad_grads, default=None),
        "bad_gradient_layers": len(bad_grads),
        "bad_weight_layers": sum(finite_share(w) < 1 for w in weights),
        "anomaly_raised": int(anomaly is not None),
        "anomaly_blames_loss": None if anomaly is None else int(anomaly == OF_THE_LOSS),
    }


def forward(x: Tensor, weights: list[Tensor], bad_layer: int, fault: str) -> list[Tensor]:
    """The output of every block and of the last layer."""
    outputs: list[Tensor] = []
    h = x
    for i, w in enumerate(weights[:-1], 1):
        h = (h @ w).relu()
        if i == bad_layer:
            h = {
                "log": lambda h: (h - 1).log(),
                "overflow": lambda h: h * 1e38 * 1e38,
                "root": lambda h: h + ((h - h.clone()) * (h - h.clone())).sum(1, keepdim=True).sqrt(),
            }.get(fault, lambda h: h)(h)
        outputs.append(h)
    return [*outputs, h @ weights[-1]]


def loss_of(out: Tensor, y: Tensor, fault: str) -> Tensor:
    """The mean squared error, plus inf if that is the fault."""
    return (out - y).pow(2).mean() + (math.inf if fault == "inf_loss" else 0.0)


def finite_share(t: Tensor) -> float:
    """The share of entries that are finite."""
    return float(t.isfinite().double().mean())


def named_by_anomaly(x: Tensor, weights: list[Tensor], y: Tensor, bad_layer: int, fault: str) -> str | None:
    """The backward function that detect_anomaly blames in the same step again, None if it raises nothing."""
    again = [w.requires_grad_() for w in weights]
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore")
        try:
            loss_of(forward(x, again, bad_layer, fault)[-1], y, fault).backward()
        except RuntimeError as found:
            return str(found).split("'")[1]
    return None


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
