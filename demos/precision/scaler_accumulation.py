"""With accumulation a loss scaler unscales once, after the last micro-batch: done each time, only the last one counts.

Linear regression of 8 inputs, 256 samples, noise 0.1, 60 updates of SGD (rate 0.3). Every update takes all samples in
`pieces` micro-batches, their mean losses divided by the number of pieces and scaled by torch's own GradScaler on the
CPU with a constant `scale`. Ways: unscale, step and update after the last piece, gradients clipped to norm 10 in
between (right); unscale and update after every piece, step at the end (unscale_each); unscale, step and update after
every piece, zero_grad at the end (step_each); clipped to norm 10 before unscaling (clip_scaled).

Measured: the gradient of the first step over that of the whole batch, its relative error, and the loss. Theory: a
second division by the scale leaves 1/scale of what was accumulated, so that of K pieces one counts; a threshold of 10
on scaled gradients is one of 10/scale. Random: data and noise.
Source: PyTorch, Automatic mixed precision examples, section on gradient accumulation.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "损失缩放与梯度累积", "en": "Loss scaling and gradient accumulation"}
PARAMS = {
    "way": {"zh": "缩放系数在哪里除掉", "en": "where the scale is divided out"},
    "pieces": {"zh": "小批的个数", "en": "number of micro-batches", "ge": 1, "le": 32},
    "scale": {"zh": "缩放系数", "en": "loss scale", "ge": 1, "le": 16777216},
}
COLUMNS = {
    "update": {"zh": "更新", "en": "update"},
    "loss": {"zh": "损失", "en": "loss"},
    "right": {"zh": "整批训练的损失", "en": "loss with whole batches"},
}
METRICS = {
    "ratio": {"zh": "第一步的梯度与整批之比", "en": "first gradient over that of the whole batch"},
    "err": {"zh": "第一步梯度的相对误差", "en": "relative error of the first gradient"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "whole_end": {"zh": "整批训练最后的损失", "en": "loss at the end with whole batches"},
    "over_whole": {"zh": "损失与整批训练之比", "en": "loss over that with whole batches"},
    "steps": {"zh": "优化器走的步数", "en": "steps that the optimiser took", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["loss", "right"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "update", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
UPDATES, RATE, CLIP = 60, 0.3, 10.0


def run(
    way: Literal["right", "unscale_each", "step_each", "clip_scaled"] = "unscale_each",
    pieces: int = 8,
    scale: float = 65536.0,
) -> Generator[Row, None, Metrics]:
    x, target = torch.randn(256, 8), torch.randn(8, 1)
    y = x @ target + 0.1 * torch.randn(256, 1)
    model, whole = nn.Linear(8, 1, bias=False), torch.zeros(8, 1)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**9)
    exact = whole_gradient(whole, x, y)
    used: list[Tensor] = []
    optimizer.register_step_pre_hook(lambda *_: used.append(gradient(model)))
    for update in range(1, UPDATES + 1):
        optimizer.zero_grad()
        accumulate(model, optimizer, scaler, list(zip(x.chunk(pieces), y.chunk(pieces), strict=True)), way)
        whole = whole - RATE * whole_gradient(whole, x, y)
        yield {"update": update, "loss": loss_of(model.weight.detach().T, x, y), "right": loss_of(whole, x, y)}
    loss, right = loss_of(model.weight.detach().T, x, y), loss_of(whole, x, y)
    return {
        "ratio": float(used[0].double().norm() / exact.double().norm()),
        "err": float((used[0] - exact).double().norm() / exact.double().norm()),
        "loss_end": loss,
        "whole_end": right,
        "over_whole": loss / right,
        "steps": len(used),
    }


def accumulate(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batches: list[tuple[Tensor, Tensor]],
    way: str,
) -> None:
    """One update over all micro-batches."""
    for index, (inputs, target) in enumerate(batches, 1):
        loss = (model(inputs) - target).square().mean() / len(batches)
        scaler.scale(loss).backward()
        last = index == len(batches)
        if way == "clip_scaled" and last:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        if last or way in ("unscale_each", "step_each"):
            scaler.unscale_(optimizer)
        if way == "right" and last:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        if last or way == "step_each":
            scaler.step(optimizer)
        if last or way in ("unscale_each", "step_each"):
            scaler.update()


def gradient(model: nn.Linear) -> Tensor:
    """The gradient that the optimiser sees, (8, 1)."""
    assert model.weight.grad is not None
    return model.weight.grad.detach().T.clone()


def whole_gradient(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the mean squared error over all samples."""
    return 2 * x.T @ (x @ weight - y) / len(x)


def loss_of(weight: Tensor, x: Tensor, y: Tensor) -> float:
    """The mean squared error over all samples."""
    return float((x @ weight - y).square().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
