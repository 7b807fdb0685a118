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
ITEMS, INPUTS, HIDDEN = 16, 32, 64
SIZES = [HIDDEN * INPUTS, HIDDEN, INPUTS * HIDDEN]
"""Of an encoder's first weights, biases and second weights, which lie in one vector."""
WEIGHT, SCALE = 1e-8, 65536.0


def run(
    cause: Literal["saturated", "dead", "underflow"] = "saturated",
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
    x: float = 0.05,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    items = torch.randn(ITEMS, INPUTS)
    views = torch.stack([items + 0.1 * torch.randn_like(items), items + 0.1 * torch.randn_like(items)])
    bias = torch.full((HIDDEN,), -10.0 if cause == "dead" else 0.0)
    encoders = [
        [torch.randn(HIDDEN, INPUTS) / INPUTS**0.5, bias, torch.randn(INPUTS, HIDDEN) / HIDDEN**0.5] for _ in views
    ]
    start = torch.stack([torch.cat([part.flatten() for part in encoder]) for encoder in encoders])
    pair = Pair(
        start,
        views,
        getattr(torch, dtype),
        temperatures=(x, x * (10 if cause == "saturated" else 1)),
        slopes=(0.0, 0.1 if cause == "dead" else 0.0),
        scales=(1.0, SCALE if cause == "underflow" else 1.0),
        weight=WEIGHT if cause == "underflow" else 1.0,
    )
    rows: list[Row] = []
    norms: list[float] = []
    cured_norms: list[float] = []
    there: Row = {}
    gap_there = math.nan
    every = max(1, n // 50)
    for step in range(n + 1):
        norm, norm_cured = pair.differentiate()
        norms.append(norm)
        cured_norms.append(norm_cured)
        is_first = norm == 0 and not there
        if step % every == 0 or step == n or is_first:
            loss, loss_cured, exact, gap = pair.exactly()
            row = {"step": step, "loss": loss, "norm": norm, "norm_exact": exact}
            rows.append(row | {"loss_cured": loss_cured, "norm_cured": norm_cured})
            if is_first or (step == n and not there):
                there, gap_there = rows[-1], gap
            yield rows[-1]
        pair.step()
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


class Pair:
    """The sick and the cured training beside each other: float32 weights, gradients that a copy in `form` computes."""

    def __init__(
        self,
        start: Tensor,
        views: Tensor,
        form: torch.dtype,
        *,
        temperatures: tuple[float, float],
        slopes: tuple[float, float],
        scales: tuple[float, float],
        weight: float,
    ) -> None:
        """`start` are the encoders' weights, views × entries; `views` is views × items × inputs."""
        self.weights = start.repeat(2, 1, 1)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.weights) for _ in range(3))
        self.steps = 0
        self.views, self.form, self.labels = views, form, torch.arange(ITEMS)
        self.temperatures, self.slopes, self.weight = temperatures, slopes, weight
        self.scales = torch.tensor(scales)

    def logits(self, weights: Tensor) -> list[Tensor]:
        """Of either training, items × items, in the format of the weights."""
        form = weights.dtype
        first, bias, second = weights.split(SIZES, 2)
        z = self.views.to(form) @ first.unflatten(2, (HIDDEN, INPUTS)).mT + bias[:, :, None]
        hidden = torch.stack([leaky_relu(part, slope) for part, slope in zip(z, self.slopes, strict=True)])
        out = hidden @ second.unflatten(2, (INPUTS, HIDDEN)).mT
        wide = torch.promote_types(form, torch.float32)  # of the norm, as under autocast
        queries, others = normalize(out.to(wide), dim=3).to(form).unbind(1)
        return [part / x for part, x in zip(queries @ others.mT, self.temperatures, strict=True)]

    def gradients(self, form: torch.dtype) -> tuple[list[Tensor], Tensor]:
        """The logits, and the gradient of the weighted, scaled losses, in `form`."""
        copy = self.weights.detach().to(form).requires_grad_()
        logits = self.logits(copy)
        wide = torch.promote_types(form, torch.float32)
        losses = torch.stack([cross_entropy(part.to(wide), self.labels) for part in logits])
        return [part.detach() for part in logits], torch.autograd.grad(
            (losses * self.weight * self.scales).sum(), copy
        )[0]

    def exactly(self) -> tuple[float, float, float, float]:
        """In float64: both unweighted losses, the sick one's norm of the weighted gradient and least gap of logits."""
        logits, gradient = self.gradients(torch.float64)
        loss, loss_cured = (cross_entropy(part, self.labels).item() for part in logits)
        wrong = logits[0].masked_fill(torch.eye(ITEMS, dtype=torch.bool), -math.inf).max(1).values
        return loss, loss_cured, gradient[0].norm().item(), (logits[0].diagonal() - wrong).min().item()

    def differentiate(self) -> list[float]:
        """The gradients for the next step, in `form`; their norms, as clip_grad_norm_ computes them."""
        self.gradient = self.gradients(self.form)[1].float() / self.scales[:, None, None]
        parts = [torch.linalg.vector_norm(part, dim=2) for part in self.gradient.split(SIZES, 2)]
        norms: list[float] = torch.linalg.vector_norm(torch.cat(parts, 1), dim=1).tolist()
        return norms

    def step(self) -> None:
        """One step of Adam, in place: ε is 1e-8."""
        self.steps += 1
        self.mean.lerp_(self.gradient, 1 - 0.9)
        self.square.mul_(0.8).addcmul_(self.gradient, self.gradient, value=1 - 0.8)
        size = (self.square.sqrt() / math.sqrt(1 - 0.8**self.steps)).add_(1e-8)
        self.weights.addcdiv_(self.mean, size, value=-0.02 / (1 - 0.9**self.steps))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
