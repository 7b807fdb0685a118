"""A skipped step now and then is how a dynamic loss scale finds its size; skipping for ever means the loss is inf.

Net: 2 - `width` - 1, ReLU, weights N(0, 1/2) and N(0, 1/(2·width)), biases 0; 256 points x ~ N(0, 1), target sin(2·x₁).
Mixed precision: float32 master weights and loss, activations and gradients in float16; `n` steps of full gradient
descent at rate `lr`. The loss is multiplied by a scale that starts at `scale`. If any gradient is inf or nan the step
is skipped and the scale halved; after `growth_interval` good steps in a row it is doubled (torch.amp.GradScaler waits
for 2000). The hidden activations are multiplied by `act_scale` and the output divided by it: the same function, the
same gradients in exact arithmetic, but in float16 the forward pass itself overflows from about 1e4 on.

With `clip` > 0 the gradient's norm is clipped, after dividing by the scale (unscale_first, as it must be) or before,
which clips scale·gradient instead. A float32 net takes the same steps, with the same clip. Counted: skipped steps; how
many of them had a loss that was inf or nan already before it was scaled: no scale can mend those. Theory for a healthy
net: one skipped step in growth_interval + 1. Source: Micikevicius et al. 2018, Mixed precision training.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "动态损失缩放：跳过的步正常吗", "en": "Dynamic loss scaling: are skipped steps normal?"}
PARAMS = {
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 1000},
    "scale": {"zh": "初始的放大倍数", "en": "initial loss scale", "ge": 1, "le": 1e9},
    "growth_interval": {"zh": "连续几步正常后加倍", "en": "good steps before the scale doubles", "ge": 1, "le": 1000},
    "act_scale": {"zh": "激活值乘以", "en": "activations multiplied by", "ge": 1e-3, "le": 1e6},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "clip": {"zh": "梯度范数裁剪到（0 = 不裁剪）", "en": "gradient norm clipped to (0: off)", "ge": 0, "le": 1e6},
    "unscale_first": {"zh": "裁剪前先除以放大倍数", "en": "divide by the scale before clipping"},
    "width": {"zh": "隐藏层宽度", "en": "hidden units", "unit": "unit", "ge": 1, "le": 128},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "scale": {"zh": "放大倍数", "en": "loss scale"},
    "loss": {"zh": "损失（未放大）", "en": "loss (unscaled)"},
}
METRICS = {
    "skipped": {"zh": "跳过的步数", "en": "skipped steps", "unit": "step"},
    "skipped_share": {"zh": "跳过的步的比例", "en": "fraction of skipped steps"},
    "theory_skipped_share": {"zh": "健康时的理论比例", "en": "fraction in theory, when healthy"},
    "longest_run": {"zh": "最多连续跳过几步", "en": "longest run of skipped steps", "unit": "step"},
    "skipped_after_tenth": {"zh": "前十分之一之后跳过的步", "en": "skipped after the first tenth", "unit": "step"},
    "bad_loss_steps": {
        "zh": "损失本身就是 inf 或 nan 的步",
        "en": "steps whose own loss was inf or nan",
        "unit": "step",
    },
    "bad_loss_share": {"zh": "跳过的步里损失本身就坏的比例", "en": "fraction of skipped steps with a bad loss"},
    "first_good_step": {"zh": "第一个没跳过的步", "en": "first step not skipped", "unit": "step"},
    "last_scale": {"zh": "最后的放大倍数", "en": "loss scale at the end"},
    "largest_scale": {"zh": "成功用过的最大放大倍数", "en": "largest scale that worked"},
    "mse": {"zh": "混合精度：最后的 MSE", "en": "mixed precision: final MSE"},
    "fp32_mse": {"zh": "float32：最后的 MSE", "en": "float32: final MSE"},
    "mse_over_fp32": {"zh": "两者之比", "en": "MSE over that of float32"},
}
CHART = {
    "mark": {"type": "line", "point": {"size": 10}},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "scale", "type": "quantitative", "scale": {"type": "log"}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
Weights = list[Tensor]


def run(
    n: int = 300,
    scale: float = 1048576.0,
    growth_interval: int = 40,
    act_scale: float = 1.0,
    lr: float = 0.05,
    clip: float = 0.0,
    unscale_first: bool = True,
    width: int = 32,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 2)
    y = (2 * x[:, :1]).sin()
    half = [torch.randn(2, width) * 0.5**0.5, torch.zeros(width), torch.randn(width, 1) * (0.5 / width) ** 0.5]
    half.append(torch.zeros(1))
    full = [w.clone() for w in half]
    bad_loss: list[bool] = []
    skipped: list[bool] = []
    good, worked = 0, 0.0
    every = max(1, n // 200)
    for step in range(1, n + 1):
        loss, grads = gradients(half, x, y, torch.float16, act_scale, scale)
        skipped.append(not bool(torch.cat([g.flatten() for g in grads]).isfinite().all()))
        bad_loss.append(not math.isfinite(loss))
        if step % every == 0 or step in (1, n) or skipped[-1]:
            yield {"step": step, "scale": scale, "loss": loss}
        if skipped[-1]:
            scale, good = scale / 2, 0
        else:
            limit = clip if unscale_first else clip / scale
            half = descend(half, [g.float() / scale for g in grads], lr, limit)
            worked, good = max(worked, scale), good + 1
            if good == growth_interval:
                scale, good = scale * 2, 0
        _, exact = gradients(full, x, y, torch.float32, act_scale, 1.0)
        full = descend(full, exact, lr, clip)
    mse, fp32_mse = mean_error(half, x, y), mean_error(full, x, y)
    runs = "".join("x" if s else " " for s in skipped).split()
    return {
        "skipped": sum(skipped),
        "skipped_share": sum(skipped) / n,
        "theory_skipped_share": 1 / (growth_interval + 1),
        "longest_run": max(map(len, runs), default=0),
        "skipped_after_tenth": sum(skipped[math.ceil(n / 10) :]),
        "bad_loss_steps": sum(bad_loss),
        "bad_loss_share": sum(b and s for b, s in zip(bad_loss, skipped, strict=True)) / sum(skipped)
        if any(skipped)
        else None,
        "first_good_step": skipped.index(False) + 1 if False in skipped else None,
        "last_scale": scale,
        "largest_scale": worked or None,
        "mse": mse,
        "fp32_mse": fp32_mse,
        "mse_over_fp32": mse / fp32_mse if fp32_mse else math.nan,
    }


def descend(weights: Weights, grads: Weights, lr: float, clip: float) -> Weights:
    """One step of gradient descent; with `clip` > 0 the gradient is first shortened to that norm."""
    factor = 1.0
    if clip > 0:
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
        factor = clip / norm if clip < norm else 1.0
    return [w - lr * (factor * g) for w, g in zip(weights, grads, strict=True)]


def gradients(
    weights: Weights, x: Tensor, y: Tensor, form: torch.dtype, act_scale: float, scale: float
) -> tuple[float, Weights]:
    """The unscaled loss, and the gradients of scale·loss; all but weights and loss in `form`."""
    work = [w.to(form).requires_grad_() for w in weights]
    loss = (forward(work, x.to(form), act_scale).float() - y).square().mean()
    return loss.item(), list(torch.autograd.grad(loss * scale, work))


def forward(weights: Weights, x: Tensor, act_scale: float) -> Tensor:
    w1, b1, w2, b2 = weights
    return torch.relu(x @ w1 + b1) * act_scale @ w2 / act_scale + b2


def mean_error(weights: Weights, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((forward(weights, x, 1.0) - y).double().square().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
