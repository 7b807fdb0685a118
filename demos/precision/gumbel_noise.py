"""Gumbel noise −log(−log u) is inf where u has been rounded to 1, and one inf in a row makes its whole softmax nan.

`n` rows of `v` tokens: logits from N(0, 1) plus Gumbel noise g, divided by the temperature `tau`, softmax. Four ways
to draw g, all in `dtype` unless they say otherwise:

rounded      u uniform in float32, stored in `dtype`: 1 with probability 2⁻⁹ in bfloat16, 2⁻¹² in float16
uniform      torch.rand in `dtype`: never 1, but 0, where g is −inf: a token that cannot be drawn, without a nan
eps          −log(−log(u + 1e-20) + 1e-20), u as in rounded: in float16 the eps is 0; in bfloat16 u = 1 gives a noise
             of 46 instead of inf, no nan, and that token has the weight 1 whatever the logits (decided_eps)
float32      u in float32, brought between 2⁻²⁴ and 1 − 2⁻²⁴, the noise stored in `dtype`

exponential: −log of torch's exponential numbers, as torch.nn.functional.gumbel_softmax does. A row is bad if its
softmax has a nan. theory: 1 − (1 − q)^v, q the probability that u is stored as 1 (half the gap below 1). Random:
logits, u. Source: Jang, Gu & Poole 2017, Categorical reparameterization with Gumbel-softmax; Maddison, Mnih & Teh
2017, The concrete distribution; IEEE 754-2019.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "Gumbel 噪声里的 inf", "en": "Infinities in Gumbel noise"}
PARAMS = {
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "v": {"zh": "每行的 token 数", "en": "tokens in a row", "ge": 1, "le": 20000},
    "n": {"zh": "行数", "en": "rows", "ge": 1, "le": 1000},
    "tau": {"zh": "温度 τ", "en": "temperature τ", "ge": 1e-6, "le": 100},
}
LIMITS = [{"product": ["n", "v"], "le": 200000}]
COLUMNS = {
    "row": {"zh": "第几行", "en": "row"},
    "rounded": {"zh": "坏行累计：u 存成低精度", "en": "bad rows so far: u stored in dtype"},
    "eps": {"zh": "坏行累计：加 1e-20", "en": "bad rows so far: 1e-20 added"},
    "float32": {"zh": "坏行累计：float32 并夹住", "en": "bad rows so far: float32, clamped"},
}
METRICS = {
    "bad_rounded": {"zh": "坏行的比例：u 存成低精度", "en": "fraction of bad rows: u stored in dtype"},
    "bad_uniform": {"zh": "坏行的比例：直接在该类型里抽", "en": "fraction of bad rows: drawn in dtype"},
    "bad_eps": {"zh": "坏行的比例：加 1e-20", "en": "fraction of bad rows: 1e-20 added"},
    "decided_eps": {"zh": "被一个过大的噪声决定的行：加 1e-20", "en": "rows decided by one huge noise: 1e-20 added"},
    "bad_exponential": {"zh": "坏行的比例：指数分布", "en": "fraction of bad rows: exponential numbers"},
    "bad_float32": {"zh": "坏行的比例：float32 并夹住", "en": "fraction of bad rows: float32, clamped"},
    "never_drawn": {"zh": "噪声是 −inf 的比例：直接抽", "en": "fraction of noise that is −inf: drawn in dtype"},
    "ones": {"zh": "u 存成 1 的比例", "en": "fraction of u stored as 1"},
    "theory": {"zh": "理论：坏行的比例", "en": "fraction of bad rows in theory"},
}
CHART = {
    "transform": [{"fold": ["rounded", "eps", "float32"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "row", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# how the numbers 1 + v store a small v
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "small_part", "spacing": "halving", "n": 30, "x": 1e-3},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    dtype: Literal["float16", "bfloat16", "float32"] = "bfloat16", v: int = 1000, n: int = 100, tau: float = 1.0
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    logits, wide = torch.randn(n, v).to(kind), torch.rand(n, v)
    u, drawn = wide.to(kind), torch.rand(n, v, dtype=kind)
    ulp = 2.0**-24
    noise = {
        "rounded": gumbel(u),
        "uniform": gumbel(drawn),
        "eps": -(-(u + 1e-20).log() + 1e-20).log(),
        "exponential": -torch.empty(n, v, dtype=kind).exponential_().log(),
        "float32": gumbel(wide.clamp(ulp, 1 - ulp)).to(kind),
    }
    bad = {way: ((logits + g) / tau).softmax(-1).isnan().any(-1).double() for way, g in noise.items()}
    sums = {way: values.cumsum(0) for way, values in bad.items()}
    for k in range(n):
        yield {"row": k + 1, **{way: sums[way][k].item() for way in ("rounded", "eps", "float32")}}
    q = torch.finfo(kind).eps / 4 if dtype != "float32" else 0.0
    return {
        **{f"bad_{way}": bad[way].mean().item() for way in ("rounded", "uniform", "eps", "exponential", "float32")},
        "decided_eps": (noise["eps"].amax(-1) > 40).double().mean().item(),
        "never_drawn": (noise["uniform"] == -torch.inf).double().mean().item(),
        "ones": (u == 1).double().mean().item(),
        "theory": 1 - (1 - q) ** v,
    }


def gumbel(u: Tensor) -> Tensor:
    """−log(−log u), in the dtype of u."""
    return -(-u.log()).log()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
