"""Sampler and trainer differ by about 0.01 in each token's log-probability; over a sequence the differences multiply.

`sequences` answers of `n` tokens, each drawn from softmax(z) over 32 tokens, z ~ N(0, 16). The trainer has the logits
z in float32, the sampler others, by `source`: bfloat16 or float16 (z rounded to it), noise (N(0, `x`²) added to each
log-probability), offset (`x` added to each, as a sampler with another temperature or kernel does on average).

d is the difference of the two log-probabilities of the chosen token. token: e^d of each token; sequence: e^Σd, the
importance weight of the whole answer; mean: e^(Σd/n), its geometric mean (GSPO). Outside: the fraction beyond
1 ± `clip`. ess: (Σw)²/(N·Σw²) of the sequence weights w, the fraction of the answers that still count.
Independent differences with standard deviation σ have std(Σd) = σ·√n (theory_growth is √n); a common offset adds x·n.
The curve: the spread of log-weights, the root mean square of Σd, after 1, 2, … tokens, beside √n and n times that of
one token. Random: logits, tokens, noise. Source: Zheng et al. 2025, Group sequence policy optimization.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "采样与训练的概率不一致，逐词相乘", "en": "Sampler and trainer disagree, token by token"}
PARAMS = {
    "source": {"zh": "差别来自", "en": "where the difference comes from"},
    "x": {"zh": "每个 token 的差别（noise、offset）", "en": "difference of a token (noise, offset)", "ge": 0, "le": 1},
    "n": {"zh": "序列长度", "en": "length of a sequence", "unit": "token", "ge": 1, "le": 2000},
    "sequences": {"zh": "序列数", "en": "sequences", "ge": 2, "le": 256},
    "clip": {"zh": "裁剪范围 ε", "en": "clip range ε", "ge": 0.01, "le": 0.99},
}
LIMITS = [{"product": ["n", "sequences"], "le": 100000}]
COLUMNS = {
    "token": {"zh": "第几个 token", "en": "token"},
    "measured": {"zh": "序列权重的对数", "en": "log-weight of the sequence"},
    "independent": {"zh": "按 √n 增长", "en": "growth by √n"},
    "aligned": {"zh": "按 n 增长", "en": "growth by n"},
}
METRICS = {
    "token_std": {"zh": "单个 token 的对数差（均方根）", "en": "log-difference of a token, rms"},
    "token_outside": {"zh": "超出裁剪范围的 token 比例", "en": "fraction of tokens outside the clip range"},
    "sequence_std": {"zh": "整条序列的对数差（均方根）", "en": "log-difference of a sequence, rms"},
    "sequence_outside": {"zh": "超出裁剪范围的序列比例", "en": "fraction of sequences outside the clip range"},
    "largest_weight": {"zh": "最大的序列权重", "en": "largest weight of a sequence"},
    "ess": {"zh": "有效样本比例", "en": "effective fraction of the sample"},
    "mean_outside": {"zh": "几何平均超出裁剪范围的比例", "en": "fraction of geometric means outside the clip range"},
    "growth": {"zh": "序列的对数差是单个 token 的几倍", "en": "log-difference of a sequence over that of a token"},
    "theory_growth": {"zh": "√n", "en": "√n"},
}
CHART = {
    "transform": [{"fold": ["measured", "independent", "aligned"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "token", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    source: Literal["bfloat16", "float16", "noise", "offset"] = "bfloat16",
    x: float = 0.01,
    n: int = 1000,
    sequences: int = 64,
    clip: float = 0.2,
) -> Generator[Row, None, Metrics]:
    d = differences(source, x, sequences * n).view(sequences, n)
    sums = d.cumsum(1)
    token_std = rms(d)
    spread = sums.square().mean(0).sqrt().tolist()
    for k in range(n):
        if k % math.ceil(n / 60) == 0 or k == n - 1:
            aligned = token_std * (k + 1)
            yield {"token": k + 1, "measured": spread[k], "independent": token_std * (k + 1) ** 0.5, "aligned": aligned}
    weights = sums[:, -1].exp()
    return {
        "token_std": token_std,
        "token_outside": outside(d, clip),
        "sequence_std": rms(sums[:, -1]),
        "sequence_outside": outside(sums[:, -1], clip),
        "largest_weight": weights.max().item(),
        "ess": (weights.sum().square() / (sequences * weights.square().sum())).item(),
        "mean_outside": outside(sums[:, -1] / n, clip),
        "growth": rms(sums[:, -1]) / token_std if token_std else math.nan,
        "theory_growth": math.sqrt(n),
    }


def differences(source: str, x: float, tokens: int) -> Tensor:
    """log-probability of the trainer minus that of the sampler, of one chosen token each, in float64."""
    if source == "offset":
        return torch.full((tokens,), x, dtype=torch.float64)
    if source == "noise":
        return x * torch.randn(tokens, dtype=torch.float64)
    z = 4 * torch.randn(tokens, 32)
    rounded = z.to(getattr(torch, source)).float()
    # the sampler chooses: the largest of its logits plus Gumbel noise
    chosen = (rounded - torch.empty_like(z).exponential_().log()).argmax(1, keepdim=True)
    ours, theirs = (logits.double().log_softmax(1).gather(1, chosen).squeeze(1) for logits in (z, rounded))
    return ours - theirs


def outside(d: Tensor, clip: float) -> float:
    """The fraction of ratios e^d beyond 1 ± clip."""
    return float(((d.exp() - 1).abs() > clip).double().mean())


def rms(d: Tensor) -> float:
    return float(d.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
