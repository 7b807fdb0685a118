"""A gradient norm of exactly 0 has two kinds of causes; the same batch in float64 tells them apart.

Contrastive training: 16 items in 32 dimensions, two noisy views of each (standard deviation 0.1), an encoder
32 - 64 - 32 for either, with a ReLU, the second layer without bias, outputs of norm 1. Cross-entropy over the 16
cosines of a query divided by the temperature `x`; the right one is the other view. Full batch, Adam at 0.02 with
betas 0.9 and 0.8, float32 master weights. At each step a copy in `dtype` makes the forward and the backward pass
(cross-entropy in float32, as under autocast), and a copy in float64 the same. The norm is what clip_grad_norm_
returns: squares summed in float32.
`cause`:
saturated  nothing is broken: once the right one leads by a gap z, the gradient is of the order e^-z, which is
           rounded to 0 in float16 at z of about 12 to 17, in the float32 norm (its squares underflow) at about 50
dead       the biases of the hidden layer are -10, as after a step that was far too large: all ReLUs are off
underflow  the loss is weighted by 1e-8, without loss scaling: all of the gradient is below float16's least number
Beside it, from the same weights, the cure: temperature 10 x, Leaky ReLU of slope 0.1, or the loss
times 65536 before the backward pass. Losses are unweighted and in float64.

Theory: the gradient with respect to the cosines is (p - 1)/x on the diagonal and p/x beside it, divided by 16;
1 - p is about e^-z. With all ReLUs off every output is 0 and the loss ln 16. Random: items, views, weights.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, leaky_relu, normalize

TITLE = {"zh": "梯度范数恰好是 0：饱和、死亡、下溢", "en": "A gradient norm of exactly 0: saturated, dead, underflow"}
PARAMS = {
    "cause": {"zh": "原因", "en": "cause"},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "x": {"zh": "温度", "en": "temperature", "ge": 0.005, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 300},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "norm": {"zh": "梯度范数，给定格式", "en": "norm, the given format"},
    "norm_exact": {"zh": "梯度范数，float64", "en": "norm, float64"},
    "norm_cured": {"zh": "梯度范数，改正之后", "en": "norm, cured"},
    "loss_cured": {"zh": "损失，改正之后", "en": "loss, cured"},
}
METRICS = {
    "first_zero": {"zh": "梯度范数第一次恰好是 0", "en": "first norm of exactly 0", "unit": "step"},
    "zero_share": {"zh": "范数恰好是 0 的步的比例", "en": "fraction of steps with a norm of exactly 0"},
    "loss_there": {"zh": "那一步的损失", "en": "loss at that step"},
    "exact_there": {"zh": "那一步 float64 的梯度范数", "en": "float64 gradient norm at that step"},
    "gap_there": {"zh": "那一步 logit 的最小差距", "en": "least gap of the logits at that step"},
    "chance": {"zh": "瞎猜的损失 ln 16", "en": "loss of guessing, ln 16"},
    "loss_start": {"zh": "开始的损失", "en": "loss at the start"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "norm_end": {"zh": "最后的梯度范数", "en": "gradient norm at the end"},
    "loss_cured_end": {"zh": "改正之后，最后的损失", "en": "loss at the end, cured"},
    "cured_zero_share": {"zh": "改正之后，范数为 0 的步的比例", "en": "fraction of steps with a norm of 0, cured"},
}
CHART = {
    "transform": [{"fold": ["loss", "norm", "norm_exact"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "symlog", "constant": 1e-9}},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "exp", "spacing": "even", "n": 25, "x": -25.0},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]
Views = tuple[Tensor, Tensor]
ITEMS, INPUTS, HIDDEN = 16, 32, 64
WEIGHT, SCALE = 1e-8, 65536.0


def run(
    cause: Literal["saturated", "dead", "underflow"] = "saturated",
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
    x: float = 0.05,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    items = torch.randn(ITEMS, INPUTS)
    views = (items + 0.1 * torch.randn_like(items), items + 0.1 * torch.randn_like(items))
    bias = torch.full((HIDDEN,), -10.0 if cause == "dead" else 0.0)
    start = [
        w
        for _ in views
        for w in (torch.randn(HIDDEN, INPUTS) / INPUTS**0.5, bias, torch.randn(INPUTS, HIDDEN) / HIDDEN**0.5)
    ]
    form = getattr(torch, dtype)
    weight = WEIGHT if cause == "underflow" else 1.0
    sick = Training(start, views, form, temperature=x, weight=weight)
    cured = Training(
        start,
        views,
        form,
        temperature=x * (10 if cause == "saturated" else 1),
        weight=weight,
        scale=SCALE if cause == "underflow" else 1.0,
        slope=0.1 if cause == "dead" else 0.0,
    )
    rows: list[Row] = []
    gaps: list[float] = []
    for step in range(n + 1):
        loss, exact, gap = sick.exactly()
        rows.append(
            {
                "step": step,
                "loss": loss,
                "norm": sick.step(),
                "norm_exact": exact,
                "loss_cured": cured.exactly()[0],
                "norm_cured": cured.step(),
            }
        )
        gaps.append(gap)
        yield rows[-1]
    first = next((row["step"] for row in rows if row["norm"] == 0), None)
    there = -1 if first is None else int(first)
    return {
        "first_zero": first,
        "zero_share": sum(row["norm"] == 0 for row in rows) / len(rows),
        "loss_there": rows[there]["loss"],
        "exact_there": rows[there]["norm_exact"],
        "gap_there": gaps[there],
        "chance": math.log(ITEMS),
        "loss_start": rows[0]["loss"],
        "loss_end": rows[-1]["loss"],
        "norm_end": rows[-1]["norm"],
        "loss_cured_end": rows[-1]["loss_cured"],
        "cured_zero_share": sum(row["norm_cured"] == 0 for row in rows) / len(rows),
    }


class Training:
    """Weights in float32, trained with gradients that a copy in `form` computes."""

    def __init__(
        self,
        start: list[Tensor],
        views: Views,
        form: torch.dtype,
        temperature: float,
        weight: float,
        scale: float = 1.0,
        slope: float = 0.0,
    ) -> None:
        self.weights = [w.clone() for w in start]
        self.adam = torch.optim.Adam(self.weights, lr=0.02, betas=(0.9, 0.8))
        self.views, self.form = views, form
        self.temperature, self.weight, self.scale, self.slope = temperature, weight, scale, slope

    def gradients(self, form: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        """The logits, items × items, and the gradient of the weighted, scaled loss, in `form`."""
        copy = [w.to(form).requires_grad_() for w in self.weights]
        queries = encode(self.views[0].to(form), copy[:3], self.slope)
        others = encode(self.views[1].to(form), copy[3:], self.slope)
        logits = queries @ others.T / self.temperature
        loss = cross_entropy(logits.to(torch.promote_types(form, torch.float32)), torch.arange(ITEMS))
        return logits.detach(), list(torch.autograd.grad(loss * self.weight * self.scale, copy))

    def exactly(self) -> tuple[float, float, float]:
        """In float64: the unweighted loss, the norm of the weighted loss's gradient, the least gap of the logits."""
        logits, gradients = self.gradients(torch.float64)
        loss = cross_entropy(logits, torch.arange(ITEMS))
        wrong = logits.masked_fill(torch.eye(ITEMS, dtype=torch.bool), -math.inf).max(1).values
        norm = math.hypot(*(float(g.norm()) for g in gradients)) / self.scale
        return loss.item(), norm, (logits.diagonal() - wrong).min().item()

    def step(self) -> float:
        """One step of Adam; the norm of its gradient, as clip_grad_norm_ computes it."""
        gradients = [g.float() / self.scale for g in self.gradients(self.form)[1]]
        for w, g in zip(self.weights, gradients, strict=True):
            w.grad = g
        self.adam.step()
        return float(torch.stack([g.norm() for g in gradients]).norm())


def encode(x: Tensor, weights: list[Tensor], slope: float) -> Tensor:
    """Vectors of norm 1, in the format of x; the norm in float32 at least, as under autocast."""
    first, bias, second = weights
    out = leaky_relu(x @ first.T + bias, slope) @ second.T
    return normalize(out.to(torch.promote_types(out.dtype, torch.float32)), dim=1).to(out.dtype)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
