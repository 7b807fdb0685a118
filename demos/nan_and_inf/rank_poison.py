"""One rank's nan is every rank's nan after all-reduce: only a flag that is taken before the reduction names the rank.

`ranks` copies of a linear model of 8 inputs are trained by data parallel SGD (rate 0.1, 60 steps, 32 samples N(0, 1) on
each rank, noise 0.1): every rank computes its gradient, all-reduce averages them, every rank takes the same step. At
step 21 one number in the data of the last rank is `bad`: nan, inf, or 1000, which is merely large. What is done about
it, `way`: nothing (none); the averaged gradient is clipped to norm 1 (clip); a rank sets its own gradient to zero if it
is not finite (zero); or all ranks skip the step if any of them has one that is not (together: a flag is all-reduced).

Measured at every step: on how many ranks the gradient is not finite before and after the average, and the loss. Theory:
nan + x is nan, so one bad rank makes all averages bad, and clipping divides by a norm that is nan. Random: the data.
Source: Li et al. 2020, PyTorch Distributed: experiences on accelerating data parallel training.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "一张卡的 nan 经 all-reduce 传给所有卡", "en": "One rank's nan reaches all by all-reduce"}
PARAMS = {
    "bad": {"zh": "最后一张卡上坏的数", "en": "bad number on the last rank"},
    "way": {"zh": "怎样处理", "en": "what is done about it"},
    "ranks": {"zh": "卡数", "en": "number of ranks", "ge": 2, "le": 64},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "before": {"zh": "归约之前：坏梯度的卡数", "en": "before the reduction: ranks with a bad gradient"},
    "after": {"zh": "归约之后：坏梯度的卡数", "en": "after the reduction: ranks with a bad gradient"},
    "loss": {"zh": "损失", "en": "loss"},
}
METRICS = {
    "before": {"zh": "归约之前有坏梯度的卡数", "en": "ranks with a bad gradient before the reduction"},
    "after": {"zh": "归约之后有坏梯度的卡数", "en": "ranks with a bad gradient after the reduction"},
    "rank": {"zh": "归约之前的标志指出的卡", "en": "rank that the flag before the reduction names"},
    "bad_step": {"zh": "第一次有坏梯度的步", "en": "first step with a bad gradient", "unit": "step"},
    "nan_ranks": {"zh": "最后权重是 nan 的卡数", "en": "ranks whose weights are nan at the end"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
}
CHART = {
    "transform": [{"fold": ["before", "after"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
NUMBERS = {"nan": float("nan"), "inf": float("inf"), "large": 1000.0}
STEPS, BAD_STEP, RATE = 60, 21, 0.1


def run(
    bad: Literal["nan", "inf", "large"] = "nan",
    way: Literal["none", "clip", "zero", "together"] = "none",
    ranks: int = 8,
) -> Generator[Row, None, Metrics]:
    target = torch.randn(8)
    weights = torch.zeros(ranks, 8)
    most_before, most_after, named, first = 0, 0, None, None
    for step in range(1, STEPS + 1):
        x, noise = torch.randn(ranks, 32, 8), 0.1 * torch.randn(ranks, 32)
        y = x @ target + noise
        if step == BAD_STEP:
            x[-1, 0, 0] = NUMBERS[bad]
        gradients = local_gradients(weights, x, y)
        flags = ~gradients.isfinite().all(1)
        reduced, skip = reduce(gradients, flags, way)
        after = 0 if reduced.isfinite().all() else ranks
        if not skip:
            weights = weights - RATE * reduced
        if flags.any() and first is None:
            first, named = step, int(flags.int().argmax())
        if step == BAD_STEP:
            most_before, most_after = int(flags.sum()), after
        loss = float((x @ weights[0] - y).square().mean())
        yield {"step": step, "before": int(flags.sum()), "after": after, "loss": loss}
    return {
        "before": most_before,
        "after": most_after,
        "rank": named,
        "bad_step": first,
        "nan_ranks": int((~weights.isfinite().all(1)).sum()),
        "loss_end": loss,
    }


def local_gradients(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of half the mean squared error on each rank, (ranks, 8)."""
    residual = torch.einsum("knd,kd->kn", x, weights) - y
    return torch.einsum("kn,knd->kd", residual, x) / x.shape[1]


def reduce(gradients: Tensor, flags: Tensor, way: str) -> tuple[Tensor, bool]:
    """What every rank holds after the average, and whether all ranks skip the step."""
    if way == "zero":
        gradients = torch.where(flags[:, None], torch.zeros_like(gradients), gradients)
    mean = gradients.mean(0)
    if way == "clip":
        mean = mean * (1 / (mean.norm() + 1e-6)).clamp(max=1)
    return mean, way == "together" and bool(flags.any())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
