"""Gradients add up over micro-batches: without the division the step is n times too long, without zero_grad unbounded.

Linear regression y = x·w* + N(0, 1)/2, x ~ N(0, 1) in 8 dimensions, 256 samples, w = 0 at the start; SGD with rate `lr`
for `n` updates, each over a batch of 64 (in order, round and round) cut into `pieces` micro-batches whose mean losses
are differentiated one after the other into the same .grad. `case`:
right     each loss is divided by the number of pieces
undivided no division: the gradient is that of the sum of the means, `pieces` times as long
no_zero   right, but the gradients are never set to zero: the step follows the sum of all gradients so far
uneven    the last piece has one sample only, the others share the rest; each mean is divided by the number of pieces
weighted  the same pieces, each loss weighted by its samples over 64
Beside it the same run with whole batches. first_ratio is the norm of the gradient of the first update over that of the
whole batch; first_err the relative error of that gradient. The loss is over all samples. Random: x, w*, noise.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "梯度累积：除以几，何时清零", "en": "Gradient accumulation: divide, and set to zero"}
PARAMS = {
    "case": {"zh": "怎么累积", "en": "how it is accumulated"},
    "pieces": {"zh": "每次更新的小批数", "en": "micro-batches per update", "ge": 2, "le": 32},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-6, "le": 10},
    "n": {"zh": "更新次数", "en": "updates", "ge": 1, "le": 300},
}
COLUMNS = {
    "update": {"zh": "第几次更新", "en": "update"},
    "accumulated": {"zh": "累积", "en": "accumulated"},
    "whole": {"zh": "整批", "en": "whole batch"},
}
METRICS = {
    "first_ratio": {"zh": "第一次更新的梯度是整批的几倍", "en": "gradient of the first update over the whole batch's"},
    "first_err": {"zh": "第一次更新的梯度的相对误差", "en": "relative error of that gradient"},
    "loss_end": {"zh": "累积：最后的损失", "en": "accumulated: loss at the end"},
    "whole_end": {"zh": "整批：最后的损失", "en": "whole batch: loss at the end"},
    "largest_loss": {"zh": "累积：最大的损失", "en": "accumulated: largest loss"},
    "weight_difference": {"zh": "最后权重的最大差", "en": "largest difference of a weight at the end"},
    "first_bad_update": {"zh": "损失首次不是有限数", "en": "first loss that is not finite", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["accumulated", "whole"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "update", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
BATCH = 64


def run(
    case: Literal["right", "undivided", "no_zero", "uneven", "weighted"] = "undivided",
    pieces: int = 8,
    lr: float = 0.2,
    n: int = 60,
) -> Generator[Row, None, Metrics]:
    target, x = torch.randn(8), torch.randn(256, 8)
    y = x @ target + torch.randn(256) / 2
    w, whole = torch.zeros(8, requires_grad=True), torch.zeros(8, requires_grad=True)
    sizes = cut(pieces, case in ("uneven", "weighted"))
    rows: list[Row] = []
    ratio = error = math.nan
    for update in range(n + 1):
        losses = {"accumulated": mean_loss(w, x, y).item(), "whole": mean_loss(whole, x, y).item()}
        rows.append({"update": update} | losses)
        yield rows[-1]
        batch = slice(BATCH * (update % 4), BATCH * (update % 4) + BATCH)
        whole.grad = None
        mean_loss(whole, x[batch], y[batch]).backward()
        w.grad = w.grad if case == "no_zero" else None
        accumulate(case, w, x[batch], y[batch], sizes)
        gradient, reference = (torch.as_tensor(of.grad) for of in (w, whole))
        if update == 0:
            ratio = (gradient.double().norm() / reference.double().norm()).item()
            error = ((gradient - reference).double().norm() / reference.double().norm()).item()
        if update < n:
            with torch.no_grad():
                w -= lr * gradient
                whole -= lr * reference
    bad = [int(row["update"]) for row in rows if not math.isfinite(row["accumulated"])]
    return {
        "first_ratio": ratio,
        "first_err": error,
        "loss_end": rows[-1]["accumulated"],
        "whole_end": rows[-1]["whole"],
        "largest_loss": math.inf if bad else max(row["accumulated"] for row in rows),
        "weight_difference": (w - whole).abs().max().item(),
        "first_bad_update": bad[0] if bad else None,
    }


def accumulate(case: str, w: Tensor, x: Tensor, y: Tensor, sizes: list[int]) -> None:
    """Adds the gradients of one batch to w.grad, piece by piece."""
    for inputs, labels in zip(x.split(sizes), y.split(sizes), strict=True):
        weight = {"undivided": 1.0, "weighted": len(labels) / BATCH}.get(case, 1 / len(sizes))
        (weight * mean_loss(w, inputs, labels)).backward()


def cut(pieces: int, uneven: bool) -> list[int]:
    """Sizes of the micro-batches of one batch; as equal as possible, or with a last one of one sample."""
    if uneven:
        return [*cut_evenly(BATCH - 1, pieces - 1), 1]
    return cut_evenly(BATCH, pieces)


def cut_evenly(samples: int, pieces: int) -> list[int]:
    """Sizes that differ by at most 1."""
    return [samples // pieces + (place < samples % pieces) for place in range(pieces)]


def mean_loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error."""
    return (x @ w - y).square().mean()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
