"""The same formula, written twice: one form gives inf or nan at an ordinary input, the other gives the right number.

`case` picks the formula, `x` its input; both forms run in `dtype`, value by value, and autograd gives their slopes.

log_sum_exp     log(eˣ + eˣ)                       against x + log 2 after subtracting the maximum
cross_entropy   −log(softmax(0, x)[0])             against the fused loss; exact: log(1 + eˣ)
bce             −log(1 − sigmoid(x))               against the loss from the logit; exact: log(1 + eˣ)
sqrt            √x                                 against √(x + eps)
norm            √(x²), the length of a vector      against √(x² + eps)
mask_multiply   0·x, to remove x                   against where(False, x, 0)
where_log       where(x > 0, log x, 0)             against the same with x replaced by 1 first
divide          x / (x + eps)                      against an eps that the format can hold
zscore          a column (0, x) over its deviation against deviation + eps
masked_mean     the mean of x ones (0: none kept)  against a divisor of at least 1
masked_row      softmax(x, −inf)[0]                against 0 for a row in which nothing is left
clip            (x, 1) shortened to length 1       against the length computed after dividing by the maximum

In `eps` the second form uses the larger of eps and the smallest normal number of the format. "Exact" is the value in
real arithmetic, without eps, computed in float64; where 0/0 would stand, it is what is meant: 0. Nothing is random.
Source: Goldberg 1991; Higham 2002, Accuracy and Stability of Numerical Algorithms; Blanchard, Higham & Higham 2021.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

TITLE = {"zh": "直接写与稳定写", "en": "Written naively, written stably"}
PARAMS = {
    "case": {"zh": "公式", "en": "formula"},
    "x": {"zh": "数值", "en": "the number", "nonfinite": True},
    "eps": {"zh": "eps", "en": "eps", "ge": 0, "le": 1},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "x": {"zh": "x", "en": "x"},
    "naive": {"zh": "直接写", "en": "naive"},
    "stable": {"zh": "稳定写", "en": "stable"},
    "naive_slope": {"zh": "直接写：斜率", "en": "naive: slope"},
    "stable_slope": {"zh": "稳定写：斜率", "en": "stable: slope"},
}
METRICS = {
    "naive": {"zh": "直接写的结果", "en": "naive form"},
    "stable": {"zh": "稳定写的结果", "en": "stable form"},
    "exact": {"zh": "精确值", "en": "exact value"},
    "stable_err": {"zh": "稳定写的误差（大于 1 时为相对误差）", "en": "error of the stable form (relative above 1)"},
    "naive_slope": {"zh": "直接写的斜率（自动求导）", "en": "slope of the naive form, by autograd"},
    "stable_slope": {"zh": "稳定写的斜率（自动求导）", "en": "slope of the stable form, by autograd"},
    "breaks_from": {"zh": "直接写的形式从哪个整数起坏掉", "en": "the naive form breaks from this integer on"},
    "stored_eps": {"zh": "eps 存进该类型后的值", "en": "eps as stored in this dtype"},
    "usable_eps": {"zh": "稳定写实际用的 eps", "en": "eps that the stable form uses"},
}
CHART = {
    "transform": [{"fold": ["naive", "stable"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# log(1 + eˣ) as it stands: the naive form of three of the cases, log_sum_exp nearly
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "log_one_plus_exp", "spacing": "even", "n": 100},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]
Form = Callable[[Tensor, Tensor], Tensor]  # of x and eps, both in the dtype


def cross_entropy_by_hand(x: Tensor, _: Tensor) -> Tensor:
    """−log of the softmax probability of the first of two logits."""
    logits = torch.stack([torch.zeros_like(x), x])
    return -torch.softmax(logits, 0)[0].log()


def clipped_naively(x: Tensor, _: Tensor) -> Tensor:
    """The first entry of (x, 1), times min(1, 1/length)."""
    return x * (1 / torch.stack([x, torch.ones_like(x)]).square().sum().sqrt()).clamp(max=1)


def clipped_stably(x: Tensor, _: Tensor) -> Tensor:
    """The same, divided by the largest entry before anything is squared."""
    top = x.abs().clamp(min=1)
    scaled = torch.stack([x / top, 1 / top])
    return scaled[0] / torch.maximum(scaled.square().sum().sqrt(), 1 / top)


def softmax_row(x: Tensor) -> Tensor:
    """The softmax of the scores (x, −inf)."""
    return torch.softmax(torch.stack([x, torch.full_like(x, -math.inf)]), 0)[0]


def softplus_exact(x: float) -> float:
    """log(1 + eˣ) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


NAIVE: dict[str, Form] = {
    "log_sum_exp": lambda x, _: (x.exp() + x.exp()).log(),
    "cross_entropy": cross_entropy_by_hand,
    "bce": lambda x, _: -(1 - torch.sigmoid(x)).log(),
    "sqrt": lambda x, _: x.sqrt(),
    "norm": lambda x, _: x.square().sqrt(),
    "mask_multiply": lambda x, _: 0 * x,
    "where_log": lambda x, _: torch.where(x > 0, x.log(), torch.zeros_like(x)),
    "divide": lambda x, e: x / (x + e),
    "zscore": lambda x, _: (x / 2) / (x / 2).abs(),
    "masked_mean": lambda x, _: x / x,
    "masked_row": lambda x, _: softmax_row(x),
    "clip": clipped_naively,
}
STABLE: dict[str, Form] = {
    "log_sum_exp": lambda x, _: torch.logsumexp(torch.stack([x, x]), 0),
    "cross_entropy": lambda x, _: functional.cross_entropy(
        torch.stack([torch.zeros_like(x), x])[None], torch.tensor([0])
    ),
    "bce": lambda x, _: functional.binary_cross_entropy_with_logits(x, torch.zeros_like(x)),
    "sqrt": lambda x, e: (x + e).sqrt(),
    "norm": lambda x, e: (x.square() + e).sqrt(),
    "mask_multiply": lambda x, _: torch.where(torch.zeros_like(x) > 0, x, torch.zeros_like(x)),
    "where_log": lambda x, _: torch.where(x > 0, torch.where(x > 0, x, torch.ones_like(x)).log(), torch.zeros_like(x)),
    "divide": lambda x, e: x / (x + e),
    "zscore": lambda x, e: (x / 2) / ((x / 2).abs() + e),
    "masked_mean": lambda x, _: x / x.clamp(min=1),
    "masked_row": lambda x, _: softmax_row(torch.where(x > -math.inf, x, torch.zeros_like(x))) * (x > -math.inf),
    "clip": clipped_stably,
}
EXACT: dict[str, Callable[[float], float]] = {
    "log_sum_exp": lambda x: x + math.log(2),
    "cross_entropy": softplus_exact,
    "bce": softplus_exact,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "norm": abs,
    "mask_multiply": lambda _: 0.0,
    "where_log": lambda x: math.log(x) if x > 0 else 0.0,
    "divide": lambda x: 1.0 if x else 0.0,
    "zscore": lambda x: math.copysign(1, x) if x else 0.0,
    "masked_mean": lambda x: 1.0 if x else 0.0,
    "masked_row": lambda x: 1.0 if x > -math.inf else 0.0,
    "clip": lambda x: x / max(1.0, math.hypot(x, 1)) if math.isfinite(x) else math.copysign(1, x),
}


def run(
    case: Literal[
        "log_sum_exp", "cross_entropy", "bce", "sqrt", "norm", "mask_multiply", "where_log", "divide", "zscore",
        "masked_mean", "masked_row", "clip",
    ] = "log_sum_exp",
    x: float = 1000.0,
    eps: float = 1e-8,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:  # fmt: skip
    kind = getattr(torch, dtype)
    number, stored = torch.tensor(x, dtype=kind), torch.tensor(eps, dtype=kind)
    usable = stored.clamp(min=torch.finfo(kind).tiny)
    middle = number.item() if math.isfinite(number.item()) else 0.0
    reach = min(abs(middle), torch.finfo(kind).max / 4) or 1.0
    for step in range(-20, 21):
        at = number.new_tensor(middle + reach * step / 20)
        (naive, naive_slope), (stable, stable_slope) = both(NAIVE[case], at, stored), both(STABLE[case], at, usable)
        yield {
            "x": at.item(), "naive": naive, "stable": stable, "naive_slope": naive_slope, "stable_slope": stable_slope,
        }  # fmt: skip
    naive, naive_slope = both(NAIVE[case], number, stored)
    stable, stable_slope = both(STABLE[case], number, usable)
    exact = math.nan if math.isnan(x) else EXACT[case](x)
    return {
        "naive": naive,
        "stable": stable,
        "exact": exact,
        "stable_err": 0.0 if stable == exact else abs(stable - exact) / max(1.0, abs(exact)),
        "naive_slope": naive_slope,
        "stable_slope": stable_slope,
        "breaks_from": first_break(case, stored) if case in ("log_sum_exp", "cross_entropy", "bce") else None,
        "stored_eps": stored.item(),
        "usable_eps": usable.item(),
    }


def both(form: Form, at: Tensor, eps: Tensor) -> tuple[float, float]:
    """The value and the slope there."""
    t = at.clone().requires_grad_()
    value = form(t, eps).sum()
    return value.item(), torch.autograd.grad(value, t)[0].item()


def first_break(case: str, eps: Tensor) -> int:
    """The least integer from 1 on at which the naive form is not finite; all three break below 1000."""
    return next(at for at in range(1, 1000) if not NAIVE[case](eps.new_tensor(float(at)), eps).isfinite())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
