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
    "norm": {"zh": "梯度范数，给定格式", "en": "gradient norm, the given format"},
    "norm_exact": {"zh": "梯度范数，float64", "en": "gradient norm, float64"},
    "norm_cured": {"zh": "梯度范数，改正之后", "en": "gradient norm, cured"},
    "loss_cured": {"zh": "损失，改正之后", "en": "loss, cured"},
}
METRICS = {
    "first_zero": {"zh": "梯度范数第一次恰好是 0", "en": "first gradient norm of exactly 0", "unit": "step"},
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
SIZES = 2 * [HIDDEN * INPUTS, HIDDEN, INPUTS * HIDDEN]
"""Of the weights and biases of both encoders, which lie in one tensor."""
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
        w.flatten()
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
    norms: list[float] = []
    cured_norms: list[float] = []
    there: Row = {}
    gap_there = math.nan
    every = max(1, n // 50)
    for step in range(n + 1):
        norm, norm_cured = sick.differentiate(), cured.differentiate()
        norms.append(norm)
        cured_norms.append(norm_cured)
        is_first = norm == 0 and not there
        if step % every == 0 or step == n or is_first:
            loss, exact, gap = sick.exactly()
            row = {"step": step, "loss": loss, "norm": norm, "norm_exact": exact}
            rows.append(row | {"loss_cured": cured.loss(), "norm_cured": norm_cured})
            if is_first or (step == n and not there):
                there, gap_there = rows[-1], gap
            yield rows[-1]
        sick.step()
        cured.step()
    return {
        "first_zero": norms.index(0) if 0 in norms else None,
        "zero_share": norms.count(0) / len(norms),
        "loss_there": there["loss"],
        "exact_there": there["norm_exact"],
        "gap_there": gap_there,
        "chance": math.log(ITEMS),
        "loss_start": rows[0]["loss"],
        "loss_end": rows[-1]["loss"],
        "norm_end": norms[-1],
        "loss_cured_end": rows[-1]["loss_cured"],
        "cured_zero_share": cured_norms.count(0) / len(norms),
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
        self.weights = torch.cat(start)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.weights) for _ in range(3))
        self.steps = 0
        self.views = {one: (views[0].to(one), views[1].to(one)) for one in (form, torch.float64)}
        self.form, self.labels = form, torch.arange(ITEMS)
        self.temperature, self.weight, self.scale, self.slope = temperature, weight, scale, slope

    def logits(self, weights: Tensor) -> Tensor:
        """Items × items, in the format of the weights."""
        views = self.views[weights.dtype]
        queries = encode(views[0], weights[: len(weights) // 2], self.slope)
        others = encode(views[1], weights[len(weights) // 2 :], self.slope)
        return queries @ others.T / self.temperature

    def gradients(self, form: torch.dtype) -> tuple[Tensor, Tensor]:
        """The logits, and the gradient of the weighted, scaled loss, in `form`."""
        copy = self.weights.detach().to(form).requires_grad_()
        logits = self.logits(copy)
        loss = cross_entropy(logits.to(torch.promote_types(form, torch.float32)), self.labels)
        return logits.detach(), torch.autograd.grad(loss * self.weight * self.scale, copy)[0]

    def loss(self) -> float:
        """In float64, unweighted."""
        return float(cross_entropy(self.logits(self.weights.double()), self.labels))

    def exactly(self) -> tuple[float, float, float]:
        """In float64: the unweighted loss, the norm of the weighted loss's gradient, the least gap of the logits."""
        logits, gradient = self.gradients(torch.float64)
        loss = cross_entropy(logits, self.labels)
        wrong = logits.masked_fill(torch.eye(ITEMS, dtype=torch.bool), -math.inf).max(1).values
        norm = math.hypot(*(float(g.norm()) for g in gradient.split(SIZES))) / self.scale
        return loss.item(), norm, (logits.diagonal() - wrong).min().item()

    def differentiate(self) -> float:
        """The gradient for the next step, in `form`; its norm, as clip_grad_norm_ computes it."""
        self.gradient = self.gradients(self.form)[1].float() / self.scale
        return float(torch.stack([g.norm() for g in self.gradient.split(SIZES)]).norm())

    def step(self) -> None:
        """One step of Adam, in place: ε is 1e-8."""
        self.steps += 1
        self.mean.lerp_(self.gradient, 1 - 0.9)
        self.square.mul_(0.8).addcmul_(self.gradient, self.gradient, value=1 - 0.8)
        size = (self.square.sqrt() / math.sqrt(1 - 0.8**self.steps)).add_(1e-8)
        self.weights.addcdiv_(self.mean, size, value=-0.02 / (1 - 0.9**self.steps))


def encode(x: Tensor, weights: Tensor, slope: float) -> Tensor:
    """Vectors of norm 1, in the format of x; the norm in float32 at least, as under autocast."""
    first, bias, second = weights.split(SIZES[:3])
    hidden = leaky_relu(x @ first.view(HIDDEN, INPUTS).T + bias, slope)
    out = hidden @ second.view(INPUTS, HIDDEN).T
    return normalize(out.to(torch.promote_types(out.dtype, torch.float32)), dim=1).to(out.dtype)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
