"""p·log p with p = 0 is 0·(−inf) = nan; xlogy mends the value but not the gradient, masking before the log mends both.

Logits of `actions` actions from N(0, 1), the last `masked` of them forbidden: their logits become −inf (`fill` inf),
−1e9 (large) or −50 (mild, where p is small but not 0). p = softmax, H = −Σ p·log p the entropy, in float32; the
gradient is with respect to the logits, by autograd. Five ways:

plain    −(p·log p).sum()
eps      −(p·log(p + 1e-8)).sum()
xlogy    −torch.xlogy(p, p).sum(), which is 0 at p = 0; its derivative log p + 1 is −inf there, and p times it nan
logits   −(p·log_softmax).sum(), as torch.distributions.Categorical without its own clamp
masked   −(p·where(allowed, log_softmax, 0)).sum(), log_softmax of logits filled with −1e9 where forbidden

theory: the entropy over the allowed actions alone, in float64. bad: fraction of the gradient that is inf or nan. error:
largest error of the gradient of masked, against that of theory. At least one action is allowed (masked < actions). KL:
Σ p·(log p − log q), q uniform over the first `actions` − `q_zero`, by torch.nn.functional.kl_div: inf where p > 0 and
q = 0; where both are 0 it is nan (−inf·0), 0 in theory. Random: logits.
Source: Cover & Thomas 2006, Elements of information theory (0·log 0 = 0); IEEE 754-2019.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "概率为 0 时的熵与 KL", "en": "Entropy and KL with a probability of 0"}
PARAMS = {
    "actions": {"zh": "动作数", "en": "actions", "ge": 2, "le": 1000},
    "masked": {"zh": "被禁止的动作", "en": "forbidden actions", "ge": 0, "le": 999},
    "fill": {"zh": "禁止的 logit 写成", "en": "logits of forbidden actions"},
    "q_zero": {"zh": "q 为 0 的动作", "en": "actions with q = 0", "ge": 0, "le": 999},
}
LIMITS = [{"ascending": ["masked", "actions"]}, {"ascending": ["q_zero", "actions"]}]
COLUMNS = {
    "action": {"zh": "第几个动作", "en": "action"},
    "plain": {"zh": "梯度：照写", "en": "gradient: plain"},
    "xlogy": {"zh": "梯度：xlogy", "en": "gradient: xlogy"},
    "masked": {"zh": "梯度：先换掉对数", "en": "gradient: masked first"},
}
METRICS = {
    "entropy": {"zh": "熵：照写", "en": "entropy: plain"},
    "entropy_eps": {"zh": "熵：加 1e-8", "en": "entropy: 1e-8 added"},
    "entropy_xlogy": {"zh": "熵：xlogy", "en": "entropy: xlogy"},
    "entropy_masked": {"zh": "熵：先换掉对数", "en": "entropy: masked first"},
    "bad_plain": {"zh": "坏掉的梯度：照写", "en": "fraction of bad derivatives: plain"},
    "bad_eps": {"zh": "坏掉的梯度：加 1e-8", "en": "fraction of bad derivatives: 1e-8 added"},
    "bad_xlogy": {"zh": "坏掉的梯度：xlogy", "en": "fraction of bad derivatives: xlogy"},
    "bad_logits": {"zh": "坏掉的梯度：log_softmax", "en": "fraction of bad derivatives: log_softmax"},
    "bad_masked": {"zh": "坏掉的梯度：先换掉对数", "en": "fraction of bad derivatives: masked first"},
    "error_masked": {"zh": "梯度的误差：先换掉对数", "en": "error of the gradient: masked first"},
    "kl": {"zh": "KL(p‖q)，kl_div", "en": "KL(p‖q) by kl_div"},
    "kl_where": {"zh": "KL(p‖q)，先换掉 p = 0 的项", "en": "KL(p‖q), terms with p = 0 replaced first"},
    "theory": {"zh": "熵（准确）", "en": "entropy, exact"},
}
CHART = {
    "transform": [{"fold": ["plain", "xlogy", "masked"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "action", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("plain", "eps", "xlogy", "logits", "masked")


def run(
    actions: int = 8, masked: int = 3, fill: Literal["inf", "large", "mild"] = "inf", q_zero: int = 3
) -> Generator[Row, None, Metrics]:
    free = torch.randn(actions)
    allowed = torch.arange(actions) < actions - masked
    logits = free.masked_fill(~allowed, {"inf": -math.inf, "large": -1e9, "mild": -50.0}[fill])
    values, slopes = {}, {}
    for way in WAYS:
        leaf = logits.clone().requires_grad_()
        value = entropy(way, leaf, allowed)
        (slopes[way],) = torch.autograd.grad(value, leaf)
        values[way] = value.item()
    for k in range(actions):
        yield {"action": k + 1, **{way: slopes[way][k].item() for way in ("plain", "xlogy", "masked")}}
    exact = free.double()[allowed].log_softmax(0)
    theory = -(exact.exp() * exact).sum().item()
    slope = torch.zeros(actions, dtype=torch.float64)
    slope[allowed] = -exact.exp() * (exact + theory)
    p = logits.softmax(0)
    q = (torch.arange(actions) < actions - q_zero).double().float()
    log_q = (q / q.sum()).log()
    pieces = torch.where(p > 0, torch.where(p > 0, p, 1.0).log() - log_q, 0.0)
    return {
        "entropy": values["plain"],
        **{f"entropy_{way}": values[way] for way in ("eps", "xlogy", "masked")},
        **{f"bad_{way}": (~slopes[way].isfinite()).double().mean().item() for way in WAYS},
        "error_masked": (slopes["masked"].double() - slope).abs().max().item(),
        "kl": torch.nn.functional.kl_div(log_q, p, reduction="sum").item(),
        "kl_where": torch.where(p > 0, p * pieces, 0.0).sum().item(),
        "theory": theory,
    }


def entropy(way: str, logits: Tensor, allowed: Tensor) -> Tensor:
    """The entropy of the softmax of the logits, one of WAYS."""
    if way == "masked":
        log_p = logits.masked_fill(~allowed, -1e9).log_softmax(0)
        return -(log_p.exp() * torch.where(allowed, log_p, 0.0)).sum()
    p = logits.softmax(0)
    if way == "xlogy":
        return -torch.xlogy(p, p).sum()
    log_p = {"plain": p, "eps": p + 1e-8}[way].log() if way != "logits" else logits.log_softmax(0)
    return -(p * log_p).sum()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
