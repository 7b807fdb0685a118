"""PPO's clip bounds the loss on one side only: with a negative advantage the ratio, an exp, passes it and overflows.

One token. d = log π(a) − log π_old(a) is `x`, r = eᵈ its ratio, A = `advantage`, everything in float32. The loss is
−min(r·A, clip(r, 1 − `clip`, 1 + `clip`)·A), as in PPO and GRPO; gradients are with respect to log π(a), by autograd.

plain     the loss as it is. For A < 0 and r > 1 + clip the minimum picks r·A: loss and gradient are |A|·eᵈ, inf from
          d = ln(largest number) = 88.7 on. For A > 0 and r > 1 + clip the gradient is 0,
          and nan once r is inf: backward multiplies the 0 of the clip by inf.
dual      dual clip (Ye et al. 2020): for A < 0 the loss is at most 3·|A|, its gradient 0 from r = 3 on
clamped   d limited to ±`bound` before the exp: the loss is at most |A|·e^bound, and beyond the bound the gradient is 0

kl: the estimator e^(−d) + d − 1 of the KL divergence (k3), which overflows on the other side, for d < −88.7.
A padding token with log-probability −inf in both models has d = −inf − (−inf) = nan: the loss of the pair (this token,
padding) is nan if the padding is multiplied by a mask of 0, and finite if its d is replaced by 0 first.
The rows scan d from −|x| to |x|. Nothing is random. Source: Schulman et al. 2017, Proximal policy optimization.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "策略比值 exp(log π − log π_old)", "en": "The policy ratio exp(log π − log π_old)"}
PARAMS = {
    "x": {"zh": "对数概率之差 d", "en": "difference d of the log-probabilities", "ge": -1000, "le": 1000},
    "advantage": {"zh": "优势", "en": "advantage", "ge": -100, "le": 100},
    "clip": {"zh": "裁剪范围 ε", "en": "clip range ε", "ge": 0.01, "le": 0.99},
    "bound": {"zh": "d 限制在 ± 多少", "en": "d limited to ±", "ge": 0.1, "le": 80},
}
COLUMNS = {
    "d": {"zh": "对数概率之差 d", "en": "difference d"},
    "plain": {"zh": "梯度：照常", "en": "gradient: plain"},
    "dual": {"zh": "梯度：双侧裁剪", "en": "gradient: dual clip"},
    "clamped": {"zh": "梯度：先限制 d", "en": "gradient: d limited first"},
}
METRICS = {
    "ratio": {"zh": "比值 r", "en": "ratio r"},
    "loss": {"zh": "损失", "en": "loss"},
    "gradient": {"zh": "梯度（绝对值）", "en": "gradient, absolute"},
    "gradient_dual": {"zh": "双侧裁剪的梯度（绝对值）", "en": "gradient with dual clip, absolute"},
    "loss_clamped": {"zh": "先限制 d 的损失", "en": "loss with d limited first"},
    "gradient_clamped": {"zh": "先限制 d 的梯度（绝对值）", "en": "gradient with d limited first, absolute"},
    "largest_gradient": {"zh": "扫描中最大的梯度", "en": "largest gradient of the scan"},
    "largest_clamped": {"zh": "扫描中最大的梯度，先限制 d", "en": "largest of the scan, d limited first"},
    "kl": {"zh": "KL 估计 k3", "en": "KL estimator k3"},
    "masked_by_zero": {"zh": "填充位乘 0 的损失", "en": "loss with padding multiplied by 0"},
    "masked_before": {"zh": "先把填充位的 d 换成 0 的损失", "en": "loss with d of padding replaced first"},
    "theory_overflow": {"zh": "比值溢出的 d", "en": "d at which the ratio overflows"},
}
CHART = {
    "transform": [{"fold": ["plain", "dual", "clamped"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "d", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "symlog"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 100.0, advantage: float = -1.0, clip: float = 0.2, bound: float = 5.0
) -> Generator[Row, None, Metrics]:
    scan = torch.linspace(-abs(x), abs(x), 61, dtype=torch.float64).float()
    slopes = {way: slope(way, scan, advantage, clip, bound).abs() for way in ("plain", "dual", "clamped")}
    for k, d in enumerate(scan.tolist()):
        yield {"d": d, **{way: values[k].item() for way, values in slopes.items()}}
    d = torch.tensor([x])
    padded = torch.tensor([x, -math.inf]) - torch.tensor([0.0, -math.inf])
    keep = torch.tensor([1.0, 0.0])
    filled = torch.where(keep.bool(), padded, torch.zeros(2))
    return {
        "ratio": d.exp().item(),
        "loss": losses("plain", d, advantage, clip, bound).item(),
        "gradient": slope("plain", d, advantage, clip, bound).abs().item(),
        "gradient_dual": slope("dual", d, advantage, clip, bound).abs().item(),
        "loss_clamped": losses("clamped", d, advantage, clip, bound).item(),
        "gradient_clamped": slope("clamped", d, advantage, clip, bound).abs().item(),
        "largest_gradient": slopes["plain"].max().item(),
        "largest_clamped": slopes["clamped"].max().item(),
        "kl": ((-d).exp() + d - 1).item(),
        "masked_by_zero": (losses("clamped", padded, advantage, clip, bound) * keep).sum().item(),
        "masked_before": (losses("clamped", filled, advantage, clip, bound) * keep).sum().item(),
        "theory_overflow": math.log(torch.finfo(torch.float32).max),
    }


def losses(way: str, d: Tensor, advantage: float, clip: float, bound: float) -> Tensor:
    """The loss of each token."""
    ratio = (d.clamp(-bound, bound) if way == "clamped" else d).exp()
    loss = -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return loss.clamp(max=-3 * advantage) if way == "dual" and advantage < 0 else loss


def slope(way: str, d: Tensor, advantage: float, clip: float, bound: float) -> Tensor:
    """The gradient of each token's loss with respect to its log-probability."""
    leaf = d.clone().requires_grad_()
    return torch.autograd.grad(losses(way, leaf, advantage, clip, bound).sum(), leaf)[0]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
