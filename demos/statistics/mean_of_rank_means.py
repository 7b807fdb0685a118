"""The mean of per-rank means is not the mean: ranks with few tokens count too much, and an empty rank makes it nan.

`ranks` devices hold `tokens` valid tokens in all, the rest is padding: rank 0 has `share` times as many as each of the
others (as near as whole numbers allow), and the last `empty` ranks have none. The model is linear, x ~ N(0, 1) in 8
dimensions, w = 0, y = x·w* + N(0, 1) on rank 0 and y = −x·w* + N(0, 1) elsewhere, so that the ranks' gradients differ.
The loss is the squared error. Three ways to put the ranks' losses and gradients together:
means    each rank divides by its own count, then the ranks are averaged (DDP's default); 0/0 = nan on an empty rank
guarded  the same, with a count of at least 1: no nan, but an empty rank pulls the average towards 0
sums     each rank sums, all divide by the global count: what one device would compute
Errors of the gradient are relative to one device's. Rows: `share` 1, 2, 4 … up to its value. Random: x, w*, noise.
Source: Hugging Face 2024, Fixing gradient accumulation (the same fault); PyTorch's notes on DistributedDataParallel.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "多卡：各卡平均再平均", "en": "Several devices: a mean of means"}
PARAMS = {
    "ranks": {"zh": "卡数", "en": "ranks", "ge": 2, "le": 64},
    "tokens": {"zh": "有效 token 总数", "en": "valid tokens in all", "ge": 64, "le": 100000},
    "share": {"zh": "0 号卡是别的卡的几倍", "en": "tokens on rank 0 over those on another", "ge": 1, "le": 1000},
    "empty": {"zh": "没有有效 token 的卡数", "en": "ranks without a valid token", "ge": 0, "le": 63},
}
COLUMNS = {
    "share": {"zh": "0 号卡是别的卡的几倍", "en": "tokens on rank 0 over those on another"},
    "means": {"zh": "平均的平均：梯度误差", "en": "mean of means: error of the gradient"},
    "guarded": {"zh": "分母至少 1：梯度误差", "en": "count of at least 1: error"},
    "sums": {"zh": "总和除以总数：梯度误差", "en": "sum over the global count: error"},
}
METRICS = {
    "one_device_loss": {"zh": "单卡的损失", "en": "loss on one device"},
    "means_loss": {"zh": "平均的平均：损失", "en": "mean of means: loss"},
    "guarded_loss": {"zh": "分母至少 1：损失", "en": "count of at least 1: loss"},
    "sums_loss": {"zh": "总和除以总数：损失", "en": "sum over the global count: loss"},
    "means_err": {"zh": "平均的平均：梯度的相对误差", "en": "mean of means: relative error of the gradient"},
    "guarded_err": {"zh": "分母至少 1：梯度的相对误差", "en": "count of at least 1: relative error"},
    "sums_err": {"zh": "总和除以总数：梯度的相对误差", "en": "sum over the global count: relative error"},
    "smallest": {"zh": "最少的卡有几个 token", "en": "tokens on the smallest rank"},
    "weight_ratio": {"zh": "最小卡的 token 权重是最大卡的几倍", "en": "weight of its tokens over the largest rank's"},
}
CHART = {
    "transform": [{"fold": ["means", "guarded", "sums"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "share", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(ranks: int = 4, tokens: int = 1024, share: float = 8.0, empty: int = 0) -> Generator[Row, None, Metrics]:
    empty = min(empty, ranks - 1)
    target = torch.randn(8).double()
    x, noise = torch.randn(tokens, 8).double(), torch.randn(tokens).double()
    steps = max(math.ceil(math.log2(share)), 0)
    for k in range(steps + 1):
        here = min(2.0**k, share)
        rows = measure(counts(ranks, tokens, here, empty), x, noise, target)
        yield {"share": here} | {way: rows[f"{way}_err"] for way in ("means", "guarded", "sums")}
    held = counts(ranks, tokens, share, empty)
    filled = [count for count in held if count]
    return measure(held, x, noise, target) | {
        "smallest": min(held),
        "weight_ratio": max(filled) / min(held) if min(held) else None,
    }


def counts(ranks: int, tokens: int, share: float, empty: int) -> list[int]:
    """Valid tokens on each rank; their sum is `tokens`."""
    others = ranks - 1 - empty
    each = int(tokens / (share + others)) if others else 0
    each = max(each, 1) if others else 0
    return [tokens - each * others] + [each] * others + [0] * empty


def measure(held: list[int], x: Tensor, noise: Tensor, target: Tensor) -> dict[str, float]:
    """Losses and errors of the gradient for the three ways; `held` is the number of tokens of each rank."""
    sign = torch.full((len(x),), -1.0, dtype=torch.float64)
    sign[: held[0]] = 1
    y = sign * (x @ target) + noise  # w = 0: the error is −y
    total = len(y)
    losses, gradients = [], []
    for of_rank, inputs in zip(y.split(held), x.split(held), strict=True):
        losses.append(of_rank.square().sum())
        gradients.append(-2 * (of_rank @ inputs))
    exact = torch.stack(gradients).sum(0) / total
    found = {"one_device_loss": (torch.stack(losses).sum() / total).item()}
    for way in ("means", "guarded", "sums"):
        divisors = [{"means": count, "guarded": max(count, 1), "sums": total / len(held)}[way] for count in held]
        divide = torch.tensor(divisors, dtype=torch.float64)
        gradient = (torch.stack(gradients) / divide[:, None]).mean(0)
        found[f"{way}_loss"] = (torch.stack(losses) / divide).mean().item()
        found[f"{way}_err"] = ((gradient - exact).norm() / exact.norm()).item()
    return found


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
