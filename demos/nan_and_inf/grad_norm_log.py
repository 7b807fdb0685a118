"""The gradient's norm shows a bad batch only if it is logged before clipping; after clipping every step looks alike.

A net 8 - 32 - 1, tanh, PyTorch's default initialisation, learns x1 + 0.1·noise by SGD with learning rate `lr` on `n`
batches of 32 fresh samples, inputs N(0, 1), mean squared error. In every 20th batch `spike` is added to one target
(first at step 20, counted from 1). The norm of the whole gradient is what clip_grad_norm_ returns: the value BEFORE
clipping to `clip` (0: no clipping); the norm after it is taken from the gradients themselves. Both in float64.

A step is flagged if its norm is more than 10 times the median of all steps so far. The flags are counted on both logs.
found: the fraction of the bad batches that are flagged. Random: weights and samples. Source: Pascanu, Mikolov & Bengio
2013, On the difficulty of training recurrent neural networks.
"""

import math
from collections.abc import Generator
from statistics import median

import torch
from torch import Tensor, nn

TITLE = {"zh": "梯度范数：裁剪之前记还是之后记", "en": "Gradient norms logged before and after clipping"}
PARAMS = {
    "clip": {"zh": "梯度范数裁剪（0 = 不裁剪）", "en": "gradient norm clipped to (0: off)", "ge": 0, "le": 1e6},
    "spike": {"zh": "坏目标加上的数", "en": "added to the bad target", "ge": 0, "le": 1e30},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 100},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 20, "le": 2000},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "before": {"zh": "裁剪前的梯度范数", "en": "gradient norm before clipping"},
    "after": {"zh": "裁剪后的梯度范数", "en": "gradient norm after clipping"},
}
METRICS = {
    "median_before": {"zh": "裁剪前范数的中位数", "en": "median norm before clipping"},
    "max_before": {"zh": "裁剪前范数的最大值", "en": "largest norm before clipping"},
    "max_after": {"zh": "裁剪后范数的最大值", "en": "largest norm after clipping"},
    "ratio_before": {"zh": "裁剪前：最大值比中位数", "en": "before clipping: largest over median"},
    "ratio_after": {"zh": "裁剪后：最大值比中位数", "en": "after clipping: largest over median"},
    "clipped_share": {"zh": "被裁剪的步数比例", "en": "fraction of steps that were clipped"},
    "bad_batches": {"zh": "坏 batch 的个数", "en": "bad batches"},
    "found_before": {"zh": "裁剪前的记录找到的坏 batch 比例", "en": "bad batches found in the log before"},
    "found_after": {"zh": "裁剪后的记录找到的坏 batch 比例", "en": "bad batches found in the log after"},
    "false_alarms": {"zh": "误报的步数（裁剪前的记录）", "en": "false alarms in the log before", "unit": "step"},
    "loss_end": {"zh": "最后 20 步损失的中位数", "en": "median loss of the last 20 steps"},
    "first_nan_step": {"zh": "损失首次不是有限数", "en": "first step with a non-finite loss", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["before", "after"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
EVERY, BATCH, FEATURES = 20, 32, 8


def run(clip: float = 1.0, spike: float = 100.0, lr: float = 0.05, n: int = 300) -> Generator[Row, None, Metrics]:
    net = nn.Sequential(nn.Linear(FEATURES, 32), nn.Tanh(), nn.Linear(32, 1))
    params = list(net.parameters())
    before, after, losses, first_bad = [], [], [], None
    for step in range(1, n + 1):
        x = torch.randn(BATCH, FEATURES)
        y = x[:, :1] + 0.1 * torch.randn(BATCH, 1)
        if step % EVERY == 0:
            y[0] += spike
        loss = (net(x) - y).pow(2).mean()
        losses.append(loss.item())
        if first_bad is None and not loss.isfinite():
            first_bad = step
        grads = list(torch.autograd.grad(loss, params))
        before.append(norm(grads))
        if 0 < clip < before[-1]:
            grads = [g * (clip / before[-1]) for g in grads]
        after.append(norm(grads))
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p.sub_(lr * g)
        if step % math.ceil(n / 400) == 0 or step % EVERY == 0:
            yield {"step": step, "before": before[-1], "after": after[-1]}
    bad = set(range(EVERY, n + 1, EVERY))
    flagged = flags(before)
    return {
        "median_before": median(before),
        "max_before": max(before),
        "max_after": max(after),
        "ratio_before": max(before) / median(before) if median(before) else math.nan,
        "ratio_after": max(after) / median(after) if median(after) else math.nan,
        "clipped_share": sum(b > clip > 0 for b in before) / n,
        "bad_batches": len(bad),
        "found_before": len(bad & flagged) / len(bad),
        "found_after": len(bad & flags(after)) / len(bad),
        "false_alarms": len(flagged - bad),
        "loss_end": median(losses[-20:]),
        "first_nan_step": first_bad,
    }


def norm(grads: list[Tensor]) -> float:
    """The norm of all gradients together."""
    return math.sqrt(sum(g.double().pow(2).sum().item() for g in grads))


def flags(norms: list[float]) -> set[int]:
    """The steps, from 1, whose norm is not below 10 times the median so far; a nan is flagged as well."""
    return {i for i in range(1, len(norms) + 1) if not norms[i - 1] <= 10 * median(norms[:i])}


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
