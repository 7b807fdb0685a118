"""Truncated backpropagation cuts the gradient to everything before the window to exactly 0, whatever was there.

An LSTM with `hidden` units (PyTorch's default weights, uniform in ±1/√hidden, but forget bias `forget_bias`) reads n
steps of 4 inputs N(0, 1), 8 samples; the loss is the mean square of the last hidden state. Its gradient with respect
to every input is measured twice: with the whole graph, and with the state detached `window` steps before the end, as
in truncated BPTT. The fraction lost is 1 − ‖kept‖²/‖all‖² over the inputs' gradients; the cosine compares the gradients
of the recurrent weights. window ≥ n cuts nothing. Everything is in float64.
Theory: outside the window exactly 0; along the cell path sigmoid(forget_bias)^k of the gradient is k steps back.
Source: Hochreiter & Schmidhuber 1997; Pascanu, Mikolov & Bengio 2013.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "截断 BPTT 丢了什么", "en": "What truncated BPTT loses"}
PARAMS = {
    "n": {"zh": "序列长度", "en": "length of the sequence", "ge": 2, "le": 300},
    "window": {"zh": "截断窗口的步数", "en": "steps in the window", "ge": 1, "le": 300},
    "hidden": {"zh": "隐藏单元数", "en": "hidden units", "ge": 1, "le": 64},
    "forget_bias": {"zh": "遗忘门偏置", "en": "forget-gate bias", "ge": -20, "le": 20},
}
COLUMNS = {
    "step": {"zh": "第几个输入", "en": "input number"},
    "full": {"zh": "不截断", "en": "whole graph"},
    "truncated": {"zh": "截断", "en": "truncated"},
}
METRICS = {
    "first_truncated": {"zh": "截断：第一个输入的梯度", "en": "truncated: gradient of the first input"},
    "first_full": {"zh": "不截断：第一个输入的梯度", "en": "whole graph: gradient of the first input"},
    "outside_window": {"zh": "截断：窗口之外最大的梯度", "en": "truncated: largest gradient outside the window"},
    "inside_window": {"zh": "截断：窗口之内最小的梯度", "en": "truncated: smallest gradient inside the window"},
    "share_lost": {"zh": "丢掉的梯度份额", "en": "fraction of the gradient that is lost"},
    "cosine_w": {"zh": "循环权重：两种梯度的余弦", "en": "recurrent weights: cosine of the two gradients"},
    "theory_reach": {"zh": "理论：窗口前那一步剩下的比例", "en": "in theory: left just before the window"},
}
CHART = {
    "transform": [{"fold": ["full", "truncated"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(n: int = 60, window: int = 20, hidden: int = 32, forget_bias: float = 3.0) -> Generator[Row, None, Metrics]:
    xs = torch.randn(n, 8, 4, dtype=torch.float64)
    u, w = uniform(hidden, 4, 4 * hidden), uniform(hidden, hidden, 4 * hidden)
    bias = uniform(hidden, 4 * hidden)
    bias[hidden : 2 * hidden] = forget_bias
    full, full_w = gradients(xs, u, w, bias, detach_at=-1)
    cut, cut_w = gradients(xs, u, w, bias, detach_at=n - window)
    for step in range(n):
        yield {"step": step + 1, "full": full[step], "truncated": cut[step]}
    outside = max(0, n - window)
    everything = sum(g * g for g in full)
    return {
        "first_truncated": cut[0],
        "first_full": full[0],
        "outside_window": max(cut[:outside], default=None),
        "inside_window": min(cut[outside:]),
        "share_lost": 1 - sum(g * g for g in cut) / everything,
        "cosine_w": float((full_w * cut_w).sum() / (full_w.norm() * cut_w.norm())) if float(cut_w.norm()) else None,
        "theory_reach": (1 / (1 + math.exp(-forget_bias))) ** window,
    }


def gradients(xs: Tensor, u: Tensor, w: Tensor, bias: Tensor, detach_at: int) -> tuple[list[float], Tensor]:
    """The norms of ∂loss/∂x_1 … ∂loss/∂x_n, and ∂loss/∂w; the state is detached before step number `detach_at`."""
    inputs = xs.clone().requires_grad_()
    recurrent = w.clone().requires_grad_()
    h = c = torch.zeros(xs.shape[1], len(w), dtype=xs.dtype)
    for step, x in enumerate(inputs):
        if step == detach_at:
            h, c = h.detach(), c.detach()
        i, f, g, o = (h @ recurrent + x @ u + bias).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    grad_x, grad_w = torch.autograd.grad(h.pow(2).mean(), (inputs, recurrent))
    return [float(g.norm()) for g in grad_x], grad_w


def uniform(hidden: int, *shape: int) -> Tensor:
    """Uniform in ±1/√hidden."""
    return (2 * torch.rand(*shape, dtype=torch.float64) - 1) / math.sqrt(hidden)


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
