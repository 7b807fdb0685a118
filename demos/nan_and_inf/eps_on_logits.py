"""An eps added to the logits changes nothing; one inside the logarithm hides the inf and takes the gradient away.

Two classes with logits (0, `x`), the right one being the first: its probability is p = 1/(1 + eˣ), the exact loss
log(1 + eˣ), the exact gradient with respect to its logit p − 1. In float32, `eps` in different places:

on_logits   −log(softmax(z + eps)): softmax does not see a common shift; p underflows to 0 from x = 104 on, −log 0 is
            inf, and the gradient is nan (0·inf)
in_log      −log(p + eps): at most −log(eps), gradient (p − 1)·p/(p + eps), 0 where p is far below eps
clamped     −log(max(p, eps)): the same limit; the gradient is exactly 0 below eps
on_logit    eps added to the right logit alone: shifts the loss by eps, no more
fused       torch's cross_entropy of the logits, without eps

The rows scan x from 0 to `x` in float32. Nothing is random. Source: Blanchard, Higham & Higham 2021.
"""

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

TITLE = {"zh": "eps 加在 logit 上", "en": "An eps added to the logits"}
PARAMS = {
    "x": {"zh": "错误类领先多少", "en": "lead of the wrong logit", "ge": 0, "le": 1000},
    "eps": {"zh": "eps", "en": "eps", "ge": 0, "le": 1},
}
COLUMNS = {
    "x": {"zh": "错误类领先多少", "en": "lead of the wrong logit"},
    "on_logits": {"zh": "eps 加在 logit 上", "en": "eps on the logits"},
    "in_log": {"zh": "eps 加在 log 里", "en": "eps in the logarithm"},
    "fused": {"zh": "融合的交叉熵", "en": "fused cross-entropy"},
}
METRICS = {
    "probability": {"zh": "正确类的概率", "en": "probability of the right class"},
    "on_logits": {"zh": "eps 加在全部 logit 上：损失", "en": "eps on all logits: loss"},
    "on_logit": {"zh": "eps 只加在正确类上：损失", "en": "eps on the right logit: loss"},
    "in_log": {"zh": "eps 加在 log 里：损失", "en": "eps in the logarithm: loss"},
    "clamped": {"zh": "概率截到 eps：损失", "en": "probability limited to eps: loss"},
    "fused": {"zh": "融合的交叉熵：损失", "en": "fused cross-entropy: loss"},
    "gradient_on_logits": {"zh": "eps 加在 logit 上：梯度", "en": "eps on the logits: gradient"},
    "gradient_in_log": {"zh": "eps 加在 log 里：梯度", "en": "eps in the logarithm: gradient"},
    "gradient_clamped": {"zh": "概率截到 eps：梯度", "en": "probability limited to eps: gradient"},
    "gradient_fused": {"zh": "融合的交叉熵：梯度", "en": "fused cross-entropy: gradient"},
    "exact": {"zh": "准确的损失", "en": "exact loss"},
}
CHART = {
    "transform": [{"fold": ["on_logits", "in_log", "fused"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(x: float = 120.0, eps: float = 1e-7) -> Generator[Row, None, Metrics]:
    first = torch.tensor([1.0, 0.0])
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "on_logits": lambda z: -(z + eps).softmax(0)[0].log(),
        "on_logit": lambda z: -(z + eps * first).softmax(0)[0].log(),
        "in_log": lambda z: -(z.softmax(0)[0] + eps).log(),
        "clamped": lambda z: -z.softmax(0)[0].clamp(min=eps).log(),
        "fused": lambda z: cross_entropy(z[None], torch.tensor([0])),
    }
    for k in range(41):
        z = torch.tensor([0.0, x * k / 40])
        yield {"x": x * k / 40, **{name: ways[name](z).item() for name in ("on_logits", "in_log", "fused")}}
    z = torch.tensor([0.0, x])
    return {
        "probability": z.softmax(0)[0].item(),
        **{name: way(z).item() for name, way in ways.items()},
        **{f"gradient_{name}": slope(ways[name], z) for name in ("on_logits", "in_log", "clamped", "fused")},
        "exact": x + math.log1p(math.exp(-x)),
    }


def slope(way: Callable[[Tensor], Tensor], z: Tensor) -> float:
    """The gradient with respect to the right logit."""
    leaf = z.clone().requires_grad_()
    return float(torch.autograd.grad(way(leaf), leaf)[0][0])


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
