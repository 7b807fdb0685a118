"""Dot products grow with the width and with the square of the weights; a large score saturates the softmax.

`n` queries and `n` keys of width `d`, q = x·a, k = x·b, a and b ~ N(0, 1): `x` is the growth of the weights. Scores
of each query with all keys, four ways: raw q·k; scaled q·k/√d; normed `gain`·cos(q, k), as QK-norm has it; capped
`cap`·tanh(q·k/(√d·cap)), soft-capping. Everything in float64.

std of raw: x²·√d (theory_raw), of scaled: x². Normed scores stay within ±gain, capped ones within ±cap at any x, d.
top: the mean over the queries of the largest softmax weight. slope: the mean of p·(1 − p) of that weight, by which a
gradient must pass; 0 when the softmax has decided. loss: cross-entropy with a random right key; guessing costs ln n.
The rows go through x/16 … x. Random: a, b, right keys. Source: Vaswani et al. 2017, Attention is all you need; Dehghani
et al. 2023, Scaling vision transformers to 22 billion parameters (QK-norm); Gemma team 2024, Gemma 2 (soft-capping).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TITLE = {"zh": "点积得分有多大", "en": "How large dot-product scores get"}
PARAMS = {
    "x": {"zh": "权重长到几倍", "en": "growth of the weights", "ge": 1e-3, "le": 1000},
    "d": {"zh": "宽度 d", "en": "width d", "ge": 1, "le": 4096},
    "n": {"zh": "查询数与键数", "en": "queries and keys", "ge": 2, "le": 256},
    "gain": {"zh": "QK-norm 的增益", "en": "gain of QK-norm", "ge": 0.1, "le": 100},
    "cap": {"zh": "soft-cap 的上限", "en": "cap of soft-capping", "ge": 0.1, "le": 1000},
}
LIMITS = [{"product": ["n", "d"], "le": 262144}]
COLUMNS = {
    "x": {"zh": "权重的倍数", "en": "growth"},
    "raw": {"zh": "最大得分：q·k", "en": "largest score: q·k"},
    "scaled": {"zh": "最大得分：q·k/√d", "en": "largest score: q·k/√d"},
    "normed": {"zh": "最大得分：QK-norm", "en": "largest score: QK-norm"},
    "capped": {"zh": "最大得分：soft-cap", "en": "largest score: soft-cap"},
}
METRICS = {
    "std_raw": {"zh": "q·k 的标准差", "en": "std of q·k"},
    "std_scaled": {"zh": "q·k/√d 的标准差", "en": "std of q·k/√d"},
    "largest_raw": {"zh": "最大得分：q·k", "en": "largest q·k"},
    "largest_scaled": {"zh": "最大得分：q·k/√d", "en": "largest q·k/√d"},
    "largest_normed": {"zh": "最大得分：QK-norm", "en": "largest with QK-norm"},
    "largest_capped": {"zh": "最大得分：soft-cap", "en": "largest with soft-cap"},
    "top_raw": {"zh": "最大权重的平均：q·k", "en": "mean top weight: q·k"},
    "top_scaled": {"zh": "最大权重的平均：q·k/√d", "en": "mean top weight: q·k/√d"},
    "top_normed": {"zh": "最大权重的平均：QK-norm", "en": "mean top weight: QK-norm"},
    "slope_raw": {"zh": "p(1 − p)：q·k", "en": "p(1 − p): q·k"},
    "slope_scaled": {"zh": "p(1 − p)：q·k/√d", "en": "p(1 − p): q·k/√d"},
    "slope_normed": {"zh": "p(1 − p)：QK-norm", "en": "p(1 − p): QK-norm"},
    "slope_capped": {"zh": "p(1 − p)：soft-cap", "en": "p(1 − p): soft-cap"},
    "loss_raw": {"zh": "交叉熵：q·k", "en": "cross-entropy: q·k"},
    "loss_scaled": {"zh": "交叉熵：q·k/√d", "en": "cross-entropy: q·k/√d"},
    "theory_raw": {"zh": "x²√d", "en": "x²√d"},
    "theory_chance": {"zh": "ln n", "en": "ln n"},
}
CHART = {
    "transform": [{"fold": ["raw", "scaled", "normed", "capped"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 1.0, d: int = 256, n: int = 64, gain: float = 10.0, cap: float = 50.0
) -> Generator[Row, None, Metrics]:
    a, b = torch.randn(n, d).double(), torch.randn(n, d).double()
    right = torch.randint(n, (n,))
    for k in range(1, 17):
        size = x * k / 16
        yield {"x": size, **{way: s.abs().max().item() for way, s in scores(size * a, size * b, gain, cap).items()}}
    at_x = scores(x * a, x * b, gain, cap)
    metrics: Metrics = {}
    for way, score in at_x.items():
        top = score.softmax(1).amax(1)
        metrics |= {
            f"std_{way}": score.std().item(),
            f"largest_{way}": score.abs().max().item(),
            f"top_{way}": top.mean().item(),
            f"slope_{way}": (top * (1 - top)).mean().item(),
            f"loss_{way}": cross_entropy(score, right).item(),
        }
    metrics |= {"theory_raw": x * x * math.sqrt(d), "theory_chance": math.log(n)}
    return {name: metrics[name] for name in METRICS}


def scores(q: Tensor, k: Tensor, gain: float, cap: float) -> dict[str, Tensor]:
    """Queries × keys, four ways."""
    raw = q @ k.T
    scaled = raw / math.sqrt(q.shape[1])
    normed = gain * normalize(q, dim=1) @ normalize(k, dim=1).T
    return {"raw": raw, "scaled": scaled, "normed": normed, "capped": cap * (scaled / cap).tanh()}


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
