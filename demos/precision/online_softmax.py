"""Attention in blocks with a running maximum equals softmax; what differs is P in 16 bits, and a block without a key.

64 queries and `n` keys; the scores are `x`·N(0, 1), the values N(0, 1) of dimension 16. The softmax average is computed
block after block of 64 keys, as FlashAttention does: a running maximum m, a running sum of exp(s − m), and an output
that is multiplied by exp(m_old − m_new) when m grows. Beside it: the same without a maximum (naive). The weights
exp(s − m) are rounded to `form` before they meet the values, as kernels do. `mask` removes keys from every query by −∞:
none, the first block, the last block, or all.

Measured against the softmax in float64 over the keys so far: the relative error of both, and the fraction of queries
that are nan with a guard for rows without a key (m = −∞ counts as 0) and without it. Theory: rescaling is exact up to
rounding; exp overflows float32 beyond 88.7; −∞ − (−∞) is nan. Random: scores and values.
Source: Milakov & Gimelshein 2018, Online normalizer calculation for softmax; Dao et al. 2022, FlashAttention.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "分块的 softmax（FlashAttention）", "en": "Softmax in blocks, as in FlashAttention"}
PARAMS = {
    "mask": {"zh": "屏蔽哪些键", "en": "keys that are masked"},
    "form": {"zh": "权重 P 的格式", "en": "format of the weights P"},
    "x": {"zh": "分数的标准差", "en": "standard deviation of the scores", "ge": 1e-3, "le": 1e4},
    "n": {"zh": "键的个数", "en": "number of keys", "ge": 128, "le": 8192},
}
COLUMNS = {
    "keys": {"zh": "已处理的键", "en": "keys so far"},
    "online": {"zh": "分块、跟踪最大值：误差", "en": "in blocks with a maximum: error"},
    "naive": {"zh": "分块、不减最大值：误差", "en": "in blocks without a maximum: error"},
}
METRICS = {
    "online": {"zh": "分块、跟踪最大值：误差", "en": "in blocks with a maximum: error"},
    "naive": {"zh": "分块、不减最大值：误差", "en": "in blocks without a maximum: error"},
    "naive_bad": {"zh": "不减最大值：非有限的行", "en": "without a maximum: fraction of rows not finite"},
    "unguarded_nan": {"zh": "不防全屏蔽：nan 的行", "en": "without a guard: fraction of rows that are nan"},
    "guarded_nan": {"zh": "防全屏蔽：nan 的行", "en": "with a guard: fraction of rows that are nan"},
    "softmax_nan": {"zh": "普通 softmax：nan 的行", "en": "plain softmax: fraction of rows that are nan"},
    "rescales": {"zh": "每行最大值更新的次数", "en": "updates of the maximum in a row"},
}
CHART = {
    "transform": [{"fold": ["online", "naive"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "keys", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
State = tuple[Tensor, Tensor, Tensor]
FORMS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUERIES, BLOCK, DIM = 64, 64, 16


def run(
    mask: Literal["none", "first", "last", "all"] = "none",
    form: Literal["float32", "bfloat16", "float16"] = "float32",
    x: float = 3.0,
    n: int = 1024,
) -> Generator[Row, None, Metrics]:
    n -= n % BLOCK
    kind = FORMS[form]
    scores, values = masked(x * torch.randn(QUERIES, n), mask), torch.randn(n, DIM)
    guarded = unguarded = empty()
    naive_sum, naive_out = torch.zeros(QUERIES, 1), torch.zeros(QUERIES, DIM)
    rescales = 0.0
    for start in range(0, n, BLOCK):
        block, part = scores[:, start : start + BLOCK], values[start : start + BLOCK]
        before = guarded[0]
        guarded = attend(guarded, block, part, kind, guard=True)
        unguarded = attend(unguarded, block, part, kind, guard=False)
        rescales += float((guarded[0] > before).double().mean())
        weights = torch.exp(block)
        naive_sum, naive_out = naive_sum + weights.sum(1, keepdim=True), naive_out + weights.to(kind).float() @ part
        naive = naive_out / naive_sum
        exact = torch.softmax(scores[:, : start + BLOCK].double(), 1) @ values[: start + BLOCK].double()
        row = {"online": error(output(guarded), exact), "naive": error(naive, exact)}
        yield {"keys": start + BLOCK, **row}
    return {
        **row,
        "naive_bad": bad_rows(naive),
        "unguarded_nan": bad_rows(output(unguarded)),
        "guarded_nan": bad_rows(output(guarded)),
        "softmax_nan": bad_rows(torch.softmax(scores, 1) @ values),
        "rescales": rescales,
    }


def masked(scores: Tensor, mask: str) -> Tensor:
    """The scores with −∞ at the keys that are masked."""
    keys = {"none": slice(0, 0), "first": slice(0, BLOCK), "last": slice(-BLOCK, None), "all": slice(None)}[mask]
    scores[:, keys] = -math.inf
    return scores


def empty() -> State:
    """Maximum, sum and output before the first key."""
    return torch.full((QUERIES, 1), -math.inf), torch.zeros(QUERIES, 1), torch.zeros(QUERIES, DIM)


def attend(state: State, block: Tensor, values: Tensor, kind: torch.dtype, guard: bool) -> State:
    """The state after one more block of keys."""
    top, total, out = state
    new_top = torch.maximum(top, block.amax(1, keepdim=True))
    base = torch.where(new_top == -math.inf, torch.zeros_like(new_top), new_top) if guard else new_top
    decay, weights = torch.exp(top - base), torch.exp(block - base)
    return new_top, decay * total + weights.sum(1, keepdim=True), decay * out + weights.to(kind).float() @ values


def output(state: State) -> Tensor:
    """The output over the sum; 0 where there was no key."""
    _, total, out = state
    return torch.where(total == 0, torch.zeros_like(out), out / total)


def bad_rows(out: Tensor) -> float:
    """The fraction of rows that are not finite."""
    return float((~out.isfinite().all(1)).double().mean())


def error(found: Tensor, exact: Tensor) -> float:
    """The norm of the difference over the norm, over rows that have a key; inf if one is not finite, 0 without rows."""
    rows = exact.isfinite().all(1)
    if not rows.any():
        return 0.0
    gap = float((found.double() - exact)[rows].norm() / exact[rows].norm())
    return gap if math.isfinite(gap) else math.inf


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
