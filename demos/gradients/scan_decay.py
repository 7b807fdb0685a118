"""A scan by ratios of decay products is nan after some hundred steps, in log space it is exact; a bfloat16 decay is 1.

h_t = a_t·h_{t−1} + u_t over `n` steps, u ~ N(0, 1), with decays a_t = exp(−`rate`·e_t), e exponential with mean 1, as
in state-space layers, linear attention and gated recurrences. Four ways in float32, against float64:

sequential  step by step
ratio       P = a₁·…·a_t, h = P·cumsum(u/P): parallel, with products
logs        L = cumsum(log a), h_t = Σ exp(L_t − L_s)·u_s for s ≤ t: parallel, with differences of logarithms
rounded     step by step, the decays a_t stored in bfloat16
rounded_log step by step, −log a_t stored in bfloat16, exp in float32

Theory: P leaves the range of float32 at L = −87 to −104, after about 90/rate steps, when u/P is inf and 0·inf nan; all
exponents in logs are ≤ 0. Below 1 bfloat16 numbers are 2⁻⁸ apart: a decay above 1 − 2⁻⁹ is stored as 1 and forgets
nothing. Random: u, e. Source: Dao & Gu 2024, Transformers are SSMs, 6; Yang et al. 2024, Gated linear attention.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "几千步的衰减连乘", "en": "Products of decays over thousands of steps"}
PARAMS = {
    "rate": {"zh": "每步的衰减率", "en": "decay per step", "ge": 1e-6, "le": 10},
    "n": {"zh": "序列长度", "en": "length of the sequence", "unit": "step", "ge": 2, "le": 1500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "exact": {"zh": "准确", "en": "exact"},
    "ratio": {"zh": "连乘之比", "en": "ratio of products"},
    "logs": {"zh": "对数差", "en": "differences of logarithms"},
    "rounded": {"zh": "衰减存成 bfloat16", "en": "decay in bfloat16"},
}
METRICS = {
    "ratio": {"zh": "连乘之比：相对误差", "en": "ratio of products: relative error"},
    "ratio_bad": {"zh": "连乘之比：nan/inf 的比例", "en": "ratio of products: fraction of nan and inf"},
    "ratio_first_bad": {"zh": "连乘之比：首个 nan/inf", "en": "ratio of products: first nan or inf", "unit": "step"},
    "logs": {"zh": "对数差：相对误差", "en": "differences of logarithms: relative error"},
    "sequential": {"zh": "逐步：相对误差", "en": "step by step: relative error"},
    "rounded": {"zh": "衰减存成 bfloat16：相对误差", "en": "decay in bfloat16: relative error"},
    "rounded_log": {"zh": "对数存成 bfloat16：相对误差", "en": "logarithm in bfloat16: relative error"},
    "ones": {"zh": "bfloat16 里变成 1 的衰减", "en": "fraction of decays that are 1 in bfloat16"},
    "log_product": {"zh": "衰减之积的自然对数", "en": "natural logarithm of the product of all decays"},
    "theory_first_bad": {"zh": "首个 nan/inf（理论）", "en": "first nan or inf in theory", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["exact", "ratio", "logs", "rounded"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(rate: float = 0.2, n: int = 1000) -> Generator[Row, None, Metrics]:
    u, e = torch.randn(n), -torch.rand(n).clamp_min(1e-7).log()
    negative_log = rate * e
    decays = torch.exp(-negative_log)
    exact = scan(torch.exp(-negative_log.double()), u.double())
    products = decays.cumprod(0)
    sums = -negative_log.cumsum(0)
    earlier = torch.ones(n, n).tril() > 0
    differences = torch.where(earlier, sums[:, None] - sums[None, :], -torch.inf)
    found = {
        "ratio": products * (u / products).cumsum(0),
        "logs": torch.exp(differences) @ u,
        "sequential": scan(decays, u),
        "rounded": scan(decays.bfloat16().float(), u),
        "rounded_log": scan(torch.exp(-negative_log.bfloat16().float()), u),
    }
    every = max(1, n // 200)
    for step in range(1, n + 1):
        if step % every == 0 or step in (1, n):
            shown = {way: found[way][step - 1].item() for way in ("ratio", "logs", "rounded")}
            yield {"step": step, "exact": exact[step - 1].item(), **shown}
    bad = (~found["ratio"].isfinite()).nonzero()
    total = -negative_log.double().cumsum(0)
    # u/P overflows at the latest when P is below the smallest subnormal number, 2⁻¹⁴⁹
    beyond = (total < -150 * 0.6931471805599453).nonzero()
    return {
        **{way: relative(values, exact) for way, values in found.items()},
        "ratio_bad": len(bad) / n,
        "ratio_first_bad": bad[0].item() + 1 if len(bad) else None,
        "ones": (decays.bfloat16() == 1).double().mean().item(),
        "log_product": total[-1].item(),
        "theory_first_bad": beyond[0].item() + 1 if len(beyond) else None,
    }


def scan(decays: Tensor, u: Tensor) -> Tensor:
    """h_t = a_t·h_{t−1} + u_t, step by step, in the dtype of both."""
    h, states = torch.zeros((), dtype=u.dtype), []
    for decay, value in zip(decays, u, strict=True):
        h = decay * h + value
        states.append(h)
    return torch.stack(states)


def relative(found: Tensor, exact: Tensor) -> float:
    """The rms error over the rms of the exact states."""
    return float((found.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
