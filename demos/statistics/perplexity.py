"""Perplexity is the exp of the mean loss: it overflows in float16 from 11.1 on, and a mean of perplexities is larger.

`n` batches whose mean losses are `x` + `spread`·ε, ε ~ N(0, 1), at least 0, with 1 to 64 tokens each (uniform). Ways:

exact    exp(Σ tokens·loss / Σ tokens), float64
stored   the same mean, its exp in `dtype`: inf beyond 11.1 in float16, 88.7 in float32 and bfloat16
mean     the mean of exp(loss) over the batches, float64: larger by about the factor e^(spread²/2), Jensen's inequality
batches  exp of the mean of the batches' losses, each with the same weight whatever its tokens

overflow: the mean loss at which the exp becomes inf. bits: the mean loss over ln 2, bits a token, which cannot
overflow. The rows are the batches; running: exp of the mean so far. Random: losses, tokens. Source: Jelinek et al.
1977, Perplexity: a measure of the difficulty of speech recognition tasks; IEEE 754-2019.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "困惑度：平均损失的指数", "en": "Perplexity: the exp of a mean loss"}
PARAMS = {
    "x": {"zh": "平均损失", "en": "mean loss", "ge": 0, "le": 1000},
    "spread": {"zh": "各批损失的标准差", "en": "standard deviation of the batches' losses", "ge": 0, "le": 10},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "n": {"zh": "批数", "en": "batches", "ge": 1, "le": 2000},
}
COLUMNS = {
    "batch": {"zh": "第几批", "en": "batch"},
    "running": {"zh": "到此为止的困惑度", "en": "perplexity so far"},
    "mean": {"zh": "困惑度的平均", "en": "mean of the perplexities so far"},
}
METRICS = {
    "exact": {"zh": "困惑度", "en": "perplexity"},
    "stored": {"zh": "困惑度：低精度的 exp", "en": "perplexity: exp in dtype"},
    "mean": {"zh": "各批困惑度的平均", "en": "mean of the batches' perplexities"},
    "mean_ratio": {"zh": "平均的困惑度是真值的几倍", "en": "mean of perplexities, relative to the true one"},
    "batches_ratio": {"zh": "不按 token 加权是真值的几倍", "en": "without token weights, relative to the true one"},
    "bits": {"zh": "每 token 的比特数", "en": "bits a token"},
    "overflow": {"zh": "exp 溢出的平均损失", "en": "mean loss at which the exp overflows"},
    "theory_ratio": {"zh": "e^(spread²/2)", "en": "e^(spread²/2)"},
}
CHART = {
    "transform": [{"fold": ["running", "mean"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "batch", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "exp", "spacing": "even", "n": 100, "x": ["x"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 12.0,
    spread: float = 1.0,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float16",
    n: int = 500,
) -> Generator[Row, None, Metrics]:
    losses = (x + spread * torch.randn(n).double()).clamp(min=0)
    tokens = torch.randint(1, 65, (n,)).double()
    so_far = (losses * tokens).cumsum(0) / tokens.cumsum(0)
    means = losses.exp().cumsum(0) / torch.arange(1, n + 1)
    for k in range(n):
        yield {"batch": k + 1, "running": so_far[k].exp().item(), "mean": means[k].item()}
    loss = so_far[-1]
    kind = getattr(torch, dtype)
    mean = losses.exp().mean().item()
    return {
        "exact": loss.exp().item(),
        "stored": loss.to(kind).exp().item(),
        "mean": mean,
        "mean_ratio": (torch.logsumexp(losses, 0) - math.log(n) - loss).exp().item(),
        "batches_ratio": (losses.mean() - loss).exp().item(),
        "bits": loss.item() / math.log(2),
        "overflow": math.log(torch.finfo(kind).max),
        "theory_ratio": math.exp(spread**2 / 2),
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
