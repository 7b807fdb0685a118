"""The chain rule by hand agrees with autograd; differences find a mistake in it, if their h is well chosen.

Net: out = tanh(x·W)·v, loss = mean over the batch of (out − y)²; x (batch × width), W (width × width), v (width) and
y are N(0, 1), W scaled by 1/√width. Three gradients of the loss with respect to W: autograd in float64 (the
reference), the chain rule by hand in float64, dW = xᵀ·[(2/batch)·(out − y)·v ∘ (1 − tanh²)], with one `mistake` if
you like, and difference quotients (f(W + h·E) − f(W − h·E))/2h, entry by entry, in `dtype`. Errors are the largest
deviation from the reference over the largest entry of the reference.

Theory: truncation costs about h² (central) or h (forward), rounding about eps/h; the sum is least near eps^(1/3) or
eps^(1/2): 6e-6 and 1.5e-8 in float64, 5e-3 and 3e-4 in float32. Source: Griewank & Walther 2008, Evaluating
derivatives; Baydin et al. 2018, Automatic differentiation in machine learning: a survey.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "梯度检查", "en": "Gradient check"}
PARAMS = {
    "h": {"zh": "差分步长 h", "en": "step h of the difference", "ge": 1e-14, "le": 1},
    "scheme": {"zh": "差分方式", "en": "difference"},
    "dtype": {"zh": "差分所用的数据类型", "en": "dtype of the differences"},
    "mistake": {"zh": "手推时的错误", "en": "mistake made by hand"},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 64},
    "width": {"zh": "宽度", "en": "width", "unit": "unit", "ge": 1, "le": 12},
}
COLUMNS = {
    "h": {"zh": "差分步长 h", "en": "step h of the difference"},
    "error": {"zh": "差分的相对误差", "en": "relative error of the difference"},
}
METRICS = {
    "hand_err": {"zh": "手推与自动微分的相对误差", "en": "relative error, by hand against autograd"},
    "hand_err_by_differences": {"zh": "手推与差分的相对误差", "en": "relative error, by hand against differences"},
    "diff_err": {"zh": "差分在所给 h 的相对误差", "en": "relative error of the differences at this h"},
    "best_h": {"zh": "误差最小的 h", "en": "the h of the least error"},
    "best_err": {"zh": "最小的误差", "en": "the least error"},
    "err_large_h": {"zh": "h = 0.1 时的误差", "en": "error at h = 0.1"},
    "err_small_h": {"zh": "h = 1e-11 时的误差", "en": "error at h = 1e-11"},
    "theory_best_h": {"zh": "理论上最好的 h（量级）", "en": "best h in theory (order of magnitude)"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "h", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "error", "type": "quantitative", "scale": {"type": "log"}},
    },
}
# a forward difference quotient, down to the h that was asked for
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "difference_quotient", "spacing": "halving", "n": 20, "x": ["h"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    h: float = 1e-5,
    scheme: Literal["central", "forward"] = "central",
    dtype: Literal["float32", "float64"] = "float64",
    mistake: Literal["none", "no_slope", "no_mean", "no_two", "wrong_sign", "transposed"] = "none",
    batch: int = 8,
    width: int = 4,
) -> Generator[Row, None, Metrics]:
    x, v = torch.randn(batch, width, dtype=torch.float64), torch.randn(width, dtype=torch.float64)
    w = torch.randn(width, width, dtype=torch.float64) / math.sqrt(width)
    y = torch.randn(batch, dtype=torch.float64)
    leaf = w.clone().requires_grad_()
    (reference,) = torch.autograd.grad(loss(leaf, x, v, y), leaf)
    size = reference.abs().max().item()

    def error(gradient: Tensor) -> float:
        return float((gradient - reference).abs().max() / size)

    short = [t.to(getattr(torch, dtype)) for t in (w, x, v, y)]
    errors = {}
    for power in range(1, 13):
        step = 10.0**-power
        errors[step] = error(differences(short, step, scheme))
        yield {"h": step, "error": errors[step]}
    best = min(errors, key=lambda step: errors[step])
    hand = by_hand(w, x, v, y, mistake)
    at_h = differences(short, h, scheme)
    eps = torch.finfo(getattr(torch, dtype)).eps
    return {
        "hand_err": error(hand),
        "hand_err_by_differences": (hand - at_h).abs().max().item() / size,
        "diff_err": error(at_h),
        "best_h": best,
        "best_err": errors[best],
        "err_large_h": errors[0.1],
        "err_small_h": errors[1e-11],
        "theory_best_h": eps ** (1 / 3 if scheme == "central" else 1 / 2),
    }


def loss(w: Tensor, x: Tensor, v: Tensor, y: Tensor) -> Tensor:
    """The mean squared error; a leading dimension of W gives one loss for each."""
    return (((x @ w).tanh() @ v - y) ** 2).mean(-1)


def by_hand(w: Tensor, x: Tensor, v: Tensor, y: Tensor, mistake: str) -> Tensor:
    """dL/dW by the chain rule: outer derivative, read-out, slope of tanh, input."""
    hidden = (x @ w).tanh()
    outer = (hidden @ v - y) * (1 if mistake == "no_two" else 2) / (1 if mistake == "no_mean" else len(x))
    slope = torch.ones_like(hidden) if mistake == "no_slope" else 1 - hidden**2
    gradient = x.T @ (outer[:, None] * v * slope)
    if mistake == "transposed":
        return gradient.T
    return -gradient if mistake == "wrong_sign" else gradient


def differences(tensors: list[Tensor], h: float, scheme: str) -> Tensor:
    """The difference quotient for every entry of W, all at once; float64 out, whatever dtype it was computed in."""
    w, *rest = tensors
    shift = h * torch.eye(w.numel(), dtype=w.dtype).reshape(-1, *w.shape)
    above = loss(w + shift, *rest)
    low = loss(w - shift, *rest) if scheme == "central" else loss(w, *rest)
    return ((above - low) / (2 * h if scheme == "central" else h)).double().reshape(w.shape)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
