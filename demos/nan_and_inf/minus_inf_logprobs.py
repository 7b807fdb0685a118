"""A token that both models forbid has −inf − (−inf) = nan in the KL: one of them makes the loss and all gradients nan.

`n` tokens of a completion; logits of the policy over 50 tokens are h·W with 8 features h and weights W, all N(0, 1/8),
those of the reference the same with W + 0.1·N(0, 1). log-probabilities are taken from log_softmax after the logits of
forbidden tokens were set to −inf; `bad` of the n tokens are forbidden in the model that `case` names:

both       in the policy and the reference: −inf − (−inf)
policy     in the policy alone: the log-ratio is +inf
reference  in the reference alone: the log-ratio is −inf
hidden     in neither, but their hidden states are nan
empty      in neither, but the mask of the completion is empty: 0/0

KL: mean of exp(d) − d − 1 over the mask, d = reference − policy, four ways:

naive       as it stands
multiplied  forbidden tokens have weight 0 in the mask
after       torch.where puts 0 for forbidden tokens after the KL is computed
before      torch.where puts 0 for both log-probabilities of forbidden tokens before they are subtracted, and the sum is
            divided by at least 1

bad_*: fraction of the entries of W whose gradient is inf or nan. Rows: number of bad tokens. Random: h, W, tokens.
Source: Shao et al. 2024, DeepSeekMath (this estimate of the KL).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "KL 里的 −inf 减 −inf", "en": "Minus infinity less minus infinity in the KL"}
PARAMS = {
    "case": {"zh": "哪里是 −inf", "en": "where −inf is"},
    "n": {"zh": "token 数", "en": "tokens", "ge": 2, "le": 500},
    "bad": {"zh": "其中被禁的", "en": "forbidden ones among them", "ge": 0, "le": 500},
}
LIMITS = [{"ascending": ["bad", "n"]}]
COLUMNS = {
    "bad": {"zh": "被禁的 token", "en": "forbidden tokens"},
    "naive": {"zh": "坏梯度：照写", "en": "bad gradients: naive"},
    "multiplied": {"zh": "坏梯度：乘掩码", "en": "bad gradients: times the mask"},
    "after": {"zh": "坏梯度：where 在后", "en": "bad gradients: where afterwards"},
    "before": {"zh": "坏梯度：where 在前", "en": "bad gradients: where first"},
}
METRICS = {
    "naive": {"zh": "KL，照写", "en": "KL, naive"},
    "multiplied": {"zh": "KL，乘掩码", "en": "KL, times the mask"},
    "after": {"zh": "KL，where 在后", "en": "KL, where afterwards"},
    "before": {"zh": "KL，where 在前", "en": "KL, where first"},
    "bad_naive": {"zh": "坏梯度的比例，照写", "en": "fraction of bad gradients, naive"},
    "bad_multiplied": {"zh": "坏梯度的比例，乘掩码", "en": "fraction of bad gradients, times the mask"},
    "bad_after": {"zh": "坏梯度的比例，where 在后", "en": "fraction of bad gradients, where afterwards"},
    "bad_before": {"zh": "坏梯度的比例，where 在前", "en": "fraction of bad gradients, where first"},
    "clean": {"zh": "没有被禁 token 时的 KL", "en": "KL without forbidden tokens"},
}
CHART = {
    "transform": [{"fold": ["naive", "multiplied", "after", "before"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "bad", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
VOCABULARY, FEATURES = 50, 8
WAYS = ("naive", "multiplied", "after", "before")


def run(
    case: Literal["both", "policy", "reference", "hidden", "empty"] = "both", n: int = 64, bad: int = 1
) -> Generator[Row, None, Metrics]:
    features = torch.randn(n, FEATURES) / math.sqrt(FEATURES)
    weight = torch.randn(FEATURES, VOCABULARY) / math.sqrt(FEATURES)
    other = features @ (weight + 0.1 * torch.randn(FEATURES, VOCABULARY))
    chosen = torch.randint(VOCABULARY, (n,))
    for count in sorted({*(2**k for k in range(9) if 2**k <= n), 0, bad}):
        found = {way: kl_and_gradient(way, case, features, weight, other, chosen, count)[1] for way in WAYS}
        yield {"bad": count} | {way: bad_fraction(gradient) for way, gradient in found.items()}
    last = {way: kl_and_gradient(way, case, features, weight, other, chosen, bad) for way in WAYS}
    return {
        **{way: kl for way, (kl, _) in last.items()},
        **{f"bad_{way}": bad_fraction(gradient) for way, (_, gradient) in last.items()},
        "clean": kl_and_gradient("naive", "both", features, weight, other, chosen, 0)[0],
    }


def kl_and_gradient(
    way: str, case: str, features: Tensor, weight: Tensor, reference: Tensor, chosen: Tensor, count: int
) -> tuple[float, Tensor]:
    """The KL, and its gradient with respect to the policy's weights; the first `count` tokens are forbidden."""
    leaf = weight.clone().requires_grad_()
    rows = torch.arange(len(features))
    forbidden = rows < (0 if case == "empty" else count)
    if case == "hidden":
        features = torch.where(forbidden[:, None], math.nan, features)
    outside = torch.zeros_like(reference, dtype=torch.bool)
    outside[rows, chosen] = forbidden
    policy, other = (
        values.masked_fill(outside & (case in ("both", name)), -math.inf).log_softmax(-1)[rows, chosen]
        for name, values in (("policy", features @ leaf), ("reference", reference))
    )
    mask = torch.full((len(features),), 0.0 if case == "empty" else 1.0)
    if way in ("multiplied", "before"):
        mask = mask * ~forbidden
    if way == "before":
        policy, other = (torch.where(forbidden, 0.0, values) for values in (policy, other))
    ratio = other - policy
    terms = ratio.exp() - ratio - 1
    if way == "after":
        terms = torch.where(forbidden, 0.0, terms)
    total = mask.sum()
    kl = (terms * mask).sum() / (total.clamp(min=1) if way == "before" else total)
    (gradient,) = torch.autograd.grad(kl, leaf)
    return kl.item(), gradient


def bad_fraction(gradient: Tensor) -> float:
    """How many of its entries are inf or nan."""
    return float((~gradient.isfinite()).double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
