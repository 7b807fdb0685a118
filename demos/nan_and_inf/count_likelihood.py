"""Poisson likelihood: a rate of 0 makes log 0, and 0·log 0 = nan at a count of 0; output the log-rate instead.

Negative log-likelihood λ − k·log λ (+ log k!) of the count `count`, with λ from a linear output `score` of a net,
float32:

relu      λ = max(score, 0), log λ naively
eps       λ = max(score, 0), log(λ + 1e-8)
softplus  λ = softplus(score), log λ of that
log_rate  λ = exp(score), −k·score for −k·log λ: no logarithm at all
capped    the same with score limited to at most `cap`

value and gradient with respect to the score of each. factorial: k! in float32, and lgamma(k + 1) = log k!, right for
any k. Rows: scores from −120 to 120. Nothing is random. Source: the PyTorch manual (PoissonNLLLoss, lgamma).
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import softplus

TITLE = {"zh": "计数的似然：速率为 0", "en": "Likelihood of counts: a rate of 0"}
PARAMS = {
    "score": {"zh": "网络的输出", "en": "output of the net", "ge": -1000, "le": 1000},
    "count": {"zh": "计数 k", "en": "count k", "ge": 0, "le": 1000},
    "cap": {"zh": "输出的上限", "en": "limit of the output", "ge": 0, "le": 88},
}
COLUMNS = {
    "score": {"zh": "输出", "en": "output"},
    "relu": {"zh": "ReLU", "en": "ReLU"},
    "softplus": {"zh": "softplus", "en": "softplus"},
    "log_rate": {"zh": "对数速率", "en": "log-rate"},
    "capped": {"zh": "对数速率，有上限", "en": "log-rate, capped"},
}
METRICS = {
    "relu": {"zh": "损失，ReLU", "en": "loss, ReLU"},
    "eps": {"zh": "损失，ReLU 加 ε", "en": "loss, ReLU with ε"},
    "softplus": {"zh": "损失，softplus", "en": "loss, softplus"},
    "log_rate": {"zh": "损失，对数速率", "en": "loss, log-rate"},
    "capped": {"zh": "损失，有上限", "en": "loss, capped"},
    "relu_gradient": {"zh": "梯度，ReLU", "en": "gradient, ReLU"},
    "eps_gradient": {"zh": "梯度，ReLU 加 ε", "en": "gradient, ReLU with ε"},
    "softplus_gradient": {"zh": "梯度，softplus", "en": "gradient, softplus"},
    "log_rate_gradient": {"zh": "梯度，对数速率", "en": "gradient, log-rate"},
    "factorial": {"zh": "k!，float32", "en": "k! in float32"},
    "lgamma": {"zh": "lgamma(k + 1)", "en": "lgamma(k + 1)"},
}
CHART = {
    "transform": [{"fold": ["relu", "softplus", "capped"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "score", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "symlog"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(score: float = -1.0, count: int = 0, cap: float = 20.0) -> Generator[Row, None, Metrics]:
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": lambda x: x.relu() - count * x.relu().log(),
        "eps": lambda x: x.relu() - count * (x.relu() + 1e-8).log(),
        "softplus": lambda x: softplus(x) - count * softplus(x).log(),
        "log_rate": lambda x: x.exp() - count * x,
        "capped": lambda x: x.clamp(max=cap).exp() - count * x.clamp(max=cap),
    }
    for k in range(-60, 61):
        x = torch.tensor(2.0 * k)
        yield {"score": 2.0 * k} | {name: way(x).item() for name, way in ways.items() if name != "eps"}
    x = torch.tensor(score, requires_grad=True)
    values = {name: way(x) for name, way in ways.items()}
    gradients = {
        f"{name}_gradient": torch.autograd.grad(value, x)[0].item()
        for name, value in values.items()
        if name != "capped"
    }
    factors = torch.arange(1, count + 1, dtype=torch.float32)
    return (
        {name: value.item() for name, value in values.items()}
        | gradients
        | {
            "factorial": factors.prod().item(),
            "lgamma": torch.lgamma(torch.tensor(count + 1.0)).item(),
        }
    )


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
