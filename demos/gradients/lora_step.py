"""A LoRA update is α/r times a product: its gradient grows with α/r and the input, and too large a step diverges.

A frozen layer y = W·x/`size`, W from N(0, 1/d) of d × d, d = 64, with an adapter s·B·A on the same inputs, A uniform
in ±1/√d as in peft, B = 0, s = `alpha`/`rank` (lora) or `alpha`/√`rank` (rslora). 64 inputs x ~ N(0, 1) times `size`:
large hidden states into a layer whose output is of ordinary size. Targets y + T·x/`size`, T = u·vᵀ, u, v unit vectors;
mean squared error; `n` steps of Adam at rate `lr` (β 0.9, 0.999, eps 1e-8) on A and B. loss: relative to its start.

At the first step B = 0, so the gradient of A is 0 and that of B is s·g·(A·x)ᵀ, g being the gradient of the output:
grad_norm is proportional to s and to size. Adam moves each entry of B by lr whatever the gradient, so first_change,
|s·B·A·x|/|y| after it, is proportional to lr·alpha·size and depends on the rank weakly (lora) or as its root (rslora).
Random: W, A, T, x.
Source: Hu et al. 2021, LoRA; Kalajdzievski 2023, A rank stabilization scaling factor for fine-tuning with LoRA.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "LoRA 的步长：α、r 与学习率", "en": "The step of LoRA: α, r and the learning rate"}
PARAMS = {
    "alpha": {"zh": "α", "en": "α", "ge": 0.01, "le": 10000},
    "rank": {"zh": "秩 r", "en": "rank r", "ge": 1, "le": 64},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-7, "le": 10},
    "scaling": {"zh": "缩放", "en": "scaling"},
    "size": {"zh": "输入的大小", "en": "size of the inputs", "ge": 1e-3, "le": 1000},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 300},
}
COLUMNS = {"step": {"zh": "步", "en": "step"}, "loss": {"zh": "损失（开始为 1）", "en": "loss (1 at the start)"}}
METRICS = {
    "first_change": {"zh": "第一步之后输出的相对变化", "en": "relative change of the output after the first step"},
    "grad_norm": {"zh": "第一步的梯度范数", "en": "gradient norm at the first step"},
    "grad_norm_a": {"zh": "第一步 A 的梯度范数", "en": "gradient norm of A at the first step"},
    "largest_loss": {"zh": "最大的损失（开始为 1）", "en": "largest loss (1 at the start)"},
    "final_loss": {"zh": "最后的损失（开始为 1）", "en": "final loss (1 at the start)"},
    "multiplier": {"zh": "缩放系数 s", "en": "multiplier s"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "loss", "type": "quantitative", "scale": {"type": "log"}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
D = 64


def run(
    alpha: float = 16.0,
    rank: int = 16,
    lr: float = 2e-3,
    scaling: Literal["lora", "rslora"] = "lora",
    size: float = 1.0,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    frozen, x = torch.randn(D, D) / math.sqrt(D), torch.randn(64, D) * size
    u, v = torch.randn(D), torch.randn(D)
    delta = torch.outer(u / u.norm(), v / v.norm())
    a = ((2 * torch.rand(rank, D) - 1) / math.sqrt(D)).requires_grad_()
    b = torch.zeros(D, rank, requires_grad=True)
    multiplier = alpha / (rank if scaling == "lora" else math.sqrt(rank))
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in (a, b)]
    losses: list[float] = []
    norms = changes = (0.0, 0.0)
    for step in range(n + 1):
        loss = (multiplier * x @ a.T @ b.T - x @ delta.T / size).square().mean()
        losses.append(loss.item())
        yield {"step": step, "loss": losses[-1] / losses[0]}
        gradients = torch.autograd.grad(loss, (a, b))
        if step == 0:
            norms = size_of(gradients[0]), size_of(gradients[1])
        if step == 1:
            changes = size_of(multiplier * x @ a.T @ b.T), size_of(x @ frozen.T / size)
        for p, gradient, (m, v2) in zip((a, b), gradients, moments, strict=True):
            adam(p, gradient, m, v2, lr, step + 1)
    return {
        "first_change": changes[0] / changes[1] if changes[1] else math.nan,
        "grad_norm": math.hypot(*norms),
        "grad_norm_a": norms[0],
        "largest_loss": max(losses) / losses[0],
        "final_loss": losses[-1] / losses[0],
        "multiplier": multiplier,
    }


def adam(p: Tensor, gradient: Tensor, m: Tensor, v: Tensor, lr: float, step: int) -> None:
    """One step of Adam, in place; `m` and `v` are its moments."""
    with torch.no_grad():
        m += 0.1 * (gradient - m)
        v += 0.001 * (gradient.square() - v)
        p -= lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)


def size_of(values: Tensor) -> float:
    return float(values.detach().double().norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
