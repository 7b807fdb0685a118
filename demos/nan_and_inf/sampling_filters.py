"""Sampling raises on healthy logits: a temperature of 0 divides by 0, a small top-p can leave no token at all.

`n` contexts with finite logits `size`·ε, ε ~ N(0, 1), over 1000 tokens, divided by `temperature`, then top-p, then
softmax, two ways:

naive  everything in `dtype`; top-p removes each token at which the cumulative probability, sorted downwards, exceeds
       `top_p`: where the first token alone exceeds it, all are removed, and the softmax of a row of −inf is nan.
       A temperature of 0, or a logit that overflows when it is divided by a small one, gives inf, and inf − inf = nan.
safe   in float32; a temperature below 1e-4 means argmax; the first token is always kept

A context is bad if torch.multinomial would refuse its probabilities: inf, nan, negative, or a sum of 0. bad_plain: bad
without top-p and at temperature 1, in `dtype`, so that the logits themselves are at fault. The rows scan top_p.
Random: logits. Source: Holtzman et al. 2020, The curious case of neural text degeneration (nucleus sampling).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "温度与 top-p 把概率变成 nan", "en": "Probabilities that temperature and top-p turn into nan"}
PARAMS = {
    "temperature": {"zh": "温度", "en": "temperature", "ge": 0, "le": 100},
    "top_p": {"zh": "top-p", "en": "top-p", "ge": 0, "le": 1},
    "size": {"zh": "logit 的标准差", "en": "standard deviation of the logits", "ge": 0.01, "le": 1000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "n": {"zh": "上下文个数", "en": "contexts", "ge": 1, "le": 300},
}
COLUMNS = {
    "top_p": {"zh": "top-p", "en": "top-p"},
    "naive": {"zh": "坏掉的比例：照写", "en": "fraction bad: naive"},
    "safe": {"zh": "坏掉的比例：稳妥写法", "en": "fraction bad: safe"},
}
METRICS = {
    "bad_naive": {"zh": "采样报错的上下文比例：照写", "en": "fraction of contexts at which sampling raises: naive"},
    "bad_safe": {"zh": "采样报错的上下文比例：稳妥写法", "en": "fraction of contexts at which sampling raises: safe"},
    "bad_plain": {"zh": "只做 softmax 就坏的比例", "en": "fraction bad with the softmax alone"},
    "kept_safe": {"zh": "稳妥写法平均留下的 token", "en": "tokens kept on average: safe"},
    "greedy_safe": {"zh": "稳妥写法里最可能的 token 不变", "en": "fraction whose best token is unchanged: safe"},
    "top": {"zh": "最大概率的平均", "en": "mean probability of the best token"},
}
CHART = {
    "transform": [{"fold": ["naive", "safe"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "top_p", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the weight of a token whose logit is lower by v
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "softmax", "spacing": "even", "n": 100, "x": -100.0},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    temperature: float = 1.0,
    top_p: float = 0.1,
    size: float = 3.0,
    dtype: Literal["float16", "bfloat16", "float32"] = "float32",
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    logits = size * torch.randn(n, 1000)
    stored = logits.to(getattr(torch, dtype))
    naive, safe = Naive(stored, temperature), Safe(logits, temperature)
    for k in range(21):
        yield {
            "top_p": k / 20,
            "naive": bad(naive.filtered(k / 20)).mean().item(),
            "safe": bad(safe.filtered(k / 20)).mean().item(),
        }
    chosen = safe.filtered(top_p)
    return {
        "bad_naive": bad(naive.filtered(top_p)).mean().item(),
        "bad_safe": bad(chosen).mean().item(),
        "bad_plain": bad(stored.softmax(-1)).mean().item(),
        "kept_safe": (chosen > 0).double().sum(-1).mean().item(),
        "greedy_safe": (chosen.argmax(-1) == logits.argmax(-1)).double().mean().item(),
        "top": logits.double().softmax(-1).amax(-1).mean().item(),
    }


class Naive:
    """Probabilities, contexts × tokens, everything in the format of the logits; they are sorted once for all top-p."""

    def __init__(self, logits: Tensor, temperature: float) -> None:
        self.scaled = logits / temperature
        self.order = self.scaled.argsort(-1, descending=True)
        self.cumulative = self.scaled.softmax(-1).gather(-1, self.order).cumsum(-1)

    def filtered(self, top_p: float) -> Tensor:
        """What remains after top-p, in the order of the tokens."""
        drop = torch.zeros_like(self.order, dtype=torch.bool).scatter(-1, self.order, self.cumulative > top_p)
        return self.scaled.masked_fill(drop, -math.inf).softmax(-1)


class Safe:
    """The same, so that one of the probabilities of a context is always positive."""

    def __init__(self, logits: Tensor, temperature: float) -> None:
        wide = logits.float()
        self.greedy = None
        if temperature < 1e-4:
            self.greedy = torch.nn.functional.one_hot(wide.argmax(-1), wide.shape[-1]).float()
            return
        self.scaled, self.order = wide / temperature, wide.argsort(-1, descending=True)
        probabilities = self.scaled.softmax(-1).gather(-1, self.order)
        self.before = probabilities.cumsum(-1) - probabilities

    def filtered(self, top_p: float) -> Tensor:
        """What remains after top-p, in the order of the tokens."""
        if self.greedy is not None:
            return self.greedy
        drop = self.before >= top_p
        drop[..., 0] = False
        drop = torch.zeros_like(drop).scatter(-1, self.order, drop)
        return self.scaled.masked_fill(drop, -math.inf).softmax(-1)


def bad(probabilities: Tensor) -> Tensor:
    """1 for each context that torch.multinomial would refuse."""
    total = probabilities.sum(-1, dtype=torch.float64)  # finite only if each of them is
    fine = total.isfinite() & (probabilities.amin(-1) >= 0) & (total > 0)
    return (~fine).double()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
