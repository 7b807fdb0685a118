"""Label smoothing puts weight on every class, also on masked ones: −inf logits make the loss inf, −1e9 millions.

`n` samples, logits of `classes` classes from N(0, 1), of which the last `masked` are not allowed and get the logit
−inf, or `fill`. The targets are allowed. Cross-entropy with label smoothing `smoothing` = ε:

inf      torch's, logits −inf: (1 − ε)·CE + ε/K·Σ of −log p over all K classes, one of which is inf
filled   torch's, logits `fill` (negative): the term is ε·masked/K·|fill|, and its gradient pushes against the mask
allowed  smoothing over the allowed classes only: (1 − ε)·CE + ε·mean of −log p over these
no ε     the cross-entropy of logits with −inf, finite

pull: mean derivative of a sample's loss by its last, masked logit, of filled; bad: fraction of the derivatives that
are inf or nan; hard: the loss without ε.
theory_filled: ε·masked/K·(|fill| + mean log Z). Random: logits, targets.
Source: Szegedy et al. 2016, Rethinking the Inception architecture for computer vision (label smoothing).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

TITLE = {"zh": "标签平滑遇上被屏蔽的类", "en": "Label smoothing with masked classes"}
PARAMS = {
    "smoothing": {"zh": "标签平滑 ε", "en": "label smoothing ε", "ge": 0, "le": 1},
    "masked": {"zh": "被屏蔽的类", "en": "masked classes", "ge": 0, "le": 999},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 1000},
    "fill": {"zh": "屏蔽的 logit 写成", "en": "logit of a masked class", "ge": -1e30, "le": 0},
    "n": {"zh": "样本数", "en": "samples", "ge": 1, "le": 200},
}
LIMITS = [{"ascending": ["masked", "classes"]}]
COLUMNS = {
    "smoothing": {"zh": "ε", "en": "ε"},
    "inf": {"zh": "损失：−inf", "en": "loss: −inf"},
    "filled": {"zh": "损失：很大的负数", "en": "loss: large negative logit"},
    "allowed": {"zh": "损失：只在允许的类里平滑", "en": "loss: smoothed over allowed classes"},
}
METRICS = {
    "loss_inf": {"zh": "损失：−inf", "en": "loss: −inf"},
    "loss_filled": {"zh": "损失：很大的负数", "en": "loss: large negative logit"},
    "loss_allowed": {"zh": "损失：只在允许的类里平滑", "en": "loss: smoothed over allowed classes"},
    "loss_hard": {"zh": "损失：−inf，不平滑", "en": "loss: −inf, without smoothing"},
    "bad_inf": {"zh": "坏掉的梯度：−inf", "en": "fraction of bad derivatives: −inf"},
    "bad_allowed": {"zh": "坏掉的梯度：只在允许的类里", "en": "fraction of bad derivatives: allowed only"},
    "pull": {"zh": "被屏蔽类的梯度：很大的负数", "en": "derivative at a masked class: large negative logit"},
    "theory_filled": {"zh": "理论：平滑项", "en": "smoothing term in theory"},
}
CHART = {
    "transform": [{"fold": ["inf", "filled", "allowed"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "smoothing", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    smoothing: float = 0.1, masked: int = 10, classes: int = 100, fill: float = -1e9, n: int = 100
) -> Generator[Row, None, Metrics]:
    logits = torch.randn(n, classes)
    y = torch.randint(classes - masked, (n,))
    allowed = torch.arange(classes) < classes - masked
    hidden = {"inf": logits.masked_fill(~allowed, -math.inf), "filled": logits.masked_fill(~allowed, fill)}
    for k in range(11):
        at = smoothing * k / 10
        yield {
            "smoothing": at,
            **{way: cross_entropy(z, y, label_smoothing=at).item() for way, z in hidden.items()},
            "allowed": smoothed(hidden["inf"], y, allowed, at).item(),
        }
    losses, slopes = {}, {}
    for way, z in (*hidden.items(), ("allowed", hidden["inf"])):
        leaf = z.clone().requires_grad_()
        plain = way != "allowed"
        loss = cross_entropy(leaf, y, label_smoothing=smoothing) if plain else smoothed(leaf, y, allowed, smoothing)
        losses[way] = loss.item()
        (slopes[way],) = torch.autograd.grad(loss * n, leaf)
    log_z = torch.logsumexp(logits[:, allowed].double(), 1).mean().item()
    return {
        **{f"loss_{way}": loss for way, loss in losses.items()},
        "loss_hard": cross_entropy(hidden["inf"], y).item(),
        "bad_inf": (~slopes["inf"].isfinite()).double().mean().item(),
        "bad_allowed": (~slopes["allowed"].isfinite()).double().mean().item(),
        "pull": slopes["filled"][:, -1].mean().item(),
        "theory_filled": smoothing * masked / classes * (abs(fill) + log_z),
    }


def smoothed(logits: Tensor, y: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with smoothing over the allowed classes; logits of the others may be −inf."""
    log_p = torch.where(allowed, logits, -1e9).log_softmax(-1)
    hard = -log_p.gather(1, y[:, None]).squeeze(1)
    spread = -torch.where(allowed, log_p, 0.0).sum(-1) / allowed.sum()
    return ((1 - smoothing) * hard + smoothing * spread).mean()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
