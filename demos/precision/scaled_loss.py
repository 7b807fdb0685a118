"""A loss in float16 cannot take a scale of 65536: the scale itself is inf there. In float32 it can.

`n` outputs z in float16, errors z − y = `x`·N(0, 1), squared error, reduced by mean or sum, times a loss scale 2^k, and
autograd's gradient with respect to z, which is float16 in all cases. half: the loss is computed in float16.
single: z is converted to float32 first, as autocast does for losses. Rows: k = 0 … 24.

Theory: the scaled loss overflows in float16 when it exceeds 65504. Independently of the loss, backward starts from the
scale: 65536 is not representable in float16, so every gradient is inf or nan from k = 16 on. In float32 only the
gradient itself counts, 2^k·2|z − y|/n (for a sum without /n), which must stay below 65504.
Random: the errors. Source: Micikevicius et al. 2018, Mixed precision training.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "损失乘以缩放系数就成了 inf", "en": "The scaled loss is inf"}
PARAMS = {
    "x": {"zh": "误差的大小", "en": "size of the errors", "ge": 1e-3, "le": 100},
    "n": {"zh": "输出个数", "en": "number of outputs", "ge": 1, "le": 16384},
    "reduction": {"zh": "归约方式", "en": "reduction"},
    "scale": {"zh": "缩放系数", "en": "loss scale", "ge": 1, "le": 16777216},
}
COLUMNS = {
    "scale": {"zh": "缩放系数", "en": "loss scale"},
    "half": {"zh": "float16 的损失：坏梯度比例", "en": "loss in float16: fraction of bad gradients"},
    "single": {"zh": "float32 的损失：坏梯度比例", "en": "loss in float32: fraction of bad gradients"},
}
METRICS = {
    "loss": {"zh": "没有放大的损失", "en": "unscaled loss"},
    "half_loss": {"zh": "float16 里没有放大的损失", "en": "unscaled loss in float16"},
    "half_scaled": {"zh": "float16 里放大的损失", "en": "scaled loss in float16"},
    "single_scaled": {"zh": "float32 里放大的损失", "en": "scaled loss in float32"},
    "half_bad": {"zh": "float16 的损失：坏梯度比例", "en": "loss in float16: fraction of bad gradients"},
    "single_bad": {"zh": "float32 的损失：坏梯度比例", "en": "loss in float32: fraction of bad gradients"},
    "half_limit": {"zh": "float16 的损失：可用的最大系数", "en": "loss in float16: largest scale that works"},
    "single_limit": {"zh": "float32 的损失：可用的最大系数", "en": "loss in float32: largest scale that works"},
    "single_error": {"zh": "float32 的损失：梯度的相对误差", "en": "loss in float32: relative error of the gradient"},
}
CHART = {
    "transform": [{"fold": ["half", "single"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "scale", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    x: float = 0.5,
    n: int = 256,
    reduction: Literal["mean", "sum"] = "mean",
    scale: float = 65536.0,
) -> Generator[Row, None, Metrics]:
    z = (x * torch.randn(n)).half()
    limits: dict[str, float | None] = {"half": None, "single": None}
    for k in range(25):
        bad = {}
        for name, form in (("half", torch.float16), ("single", torch.float32)):
            bad[name] = not_finite(scaled(z, reduction, 2.0**k, form)[2])
            limits[name] = 2.0**k if bad[name] == 0 else limits[name]
        yield {"scale": 2.0**k, **bad}
    half, single = (scaled(z, reduction, scale, form) for form in (torch.float16, torch.float32))
    exact = 2 * z.double() / (n if reduction == "mean" else 1)
    error = single[2].double() / scale - exact
    loss = z.double().square().sum().item() / (n if reduction == "mean" else 1)
    return {
        "loss": loss,
        "half_loss": half[0].item(),
        "half_scaled": half[1].item(),
        "single_scaled": single[1].item(),
        "half_bad": not_finite(half[2]),
        "single_bad": not_finite(single[2]),
        "half_limit": limits["half"],
        "single_limit": limits["single"],
        "single_error": (error.norm() / exact.norm()).item(),
    }


def scaled(z: Tensor, reduction: str, scale: float, form: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The loss in `form`, the scaled loss, and the gradient with respect to z, in float16."""
    leaf = z.clone().requires_grad_()
    squares = leaf.to(form).square()
    loss = squares.mean() if reduction == "mean" else squares.sum()
    (gradient,) = torch.autograd.grad(loss * scale, leaf)
    return loss.detach(), (loss * scale).detach(), gradient


def not_finite(values: Tensor) -> float:
    return float(1 - values.isfinite().double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
