"""Softmax does not see a shift common to all logits, low precision does: bf16 router logits pick other experts.

Router logits of `n` tokens over `experts` experts: z + `shift`, z ~ N(0, `spread`²), `k` experts a token. A shift
changes neither the softmax nor the order in exact arithmetic, but stored in `dtype` the logits keep only what is larger
than the gap between neighbouring numbers near shift: 2⁻⁷·shift for bfloat16, half of that error after rounding.

flips   fraction of tokens whose set of k experts is not that of the exact logits
ties    fraction of tokens whose k-th and next logit are equal after rounding: the index decides, not the router
error   mean over the tokens of the largest error of a softmax weight
load    largest number of tokens of an expert, relative to the mean: ties go to low indices

centred: the shift taken off in float32 before storing, as a router whose log Z a z-loss holds near 0.
The rows scan the shift in steps of 1/16. Random: z. Source: Zoph et al. 2022, ST-MoE: designing stable and transferable
sparse expert models (router z-loss); Fedus, Zoph & Shazeer 2021, Switch transformers (router in float32).
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "路由 logit 的精度", "en": "The precision of router logits"}
PARAMS = {
    "shift": {"zh": "所有 logit 共同的平移", "en": "shift common to all logits", "ge": 0, "le": 30000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "spread": {"zh": "logit 的标准差", "en": "standard deviation of the logits", "ge": 1e-3, "le": 100},
    "experts": {"zh": "专家数", "en": "experts", "ge": 2, "le": 256},
    "k": {"zh": "每个 token 选几个", "en": "experts a token", "ge": 1, "le": 16},
    "n": {"zh": "token 数", "en": "tokens", "ge": 1, "le": 2000},
}
LIMITS = [{"ascending": ["k", "experts"]}]
COLUMNS = {
    "shift": {"zh": "平移", "en": "shift"},
    "flips": {"zh": "选错专家的比例", "en": "fraction with other experts"},
    "centred": {"zh": "选错专家的比例：先去掉平移", "en": "fraction with other experts: shift taken off"},
}
METRICS = {
    "flips": {"zh": "选错专家的比例", "en": "fraction of tokens with other experts"},
    "flips_centred": {"zh": "选错专家的比例：先去掉平移", "en": "the same, shift taken off"},
    "ties": {"zh": "并列的比例", "en": "fraction of tokens with a tie"},
    "ties_centred": {"zh": "并列的比例：先去掉平移", "en": "the same, shift taken off"},
    "error": {"zh": "权重的误差", "en": "error of the weights"},
    "error_centred": {"zh": "权重的误差：先去掉平移", "en": "the same, shift taken off"},
    "load": {"zh": "最忙的专家是平均的几倍", "en": "busiest expert, relative to the mean"},
    "load_exact": {"zh": "最忙的专家是平均的几倍（准确）", "en": "busiest expert, exact logits"},
    "theory_gap": {"zh": "平移附近相邻两数的间隔", "en": "gap between numbers near the shift"},
}
CHART = {
    "transform": [{"fold": ["flips", "centred"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "shift", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# whether v and v + 1 are still two numbers
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "neighbour", "spacing": "doubling", "n": 14, "x": 8192.0},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    shift: float = 64.0,
    dtype: Literal["float16", "bfloat16", "float32"] = "bfloat16",
    spread: float = 1.0,
    experts: int = 64,
    k: int = 2,
    n: int = 1000,
) -> Generator[Row, None, Metrics]:
    z = spread * torch.randn(n, experts)
    kind = getattr(torch, dtype)
    exact = z.double()
    centred = z.to(kind).double()
    right = chosen(exact, k)
    flips_centred = flips(centred, right)
    for part in range(17):
        at = shift * part / 16
        yield {"shift": at, "flips": flips((z + at).to(kind).double(), right), "centred": flips_centred}
    stored = (z + shift).to(kind).double()
    near = torch.tensor(max(shift, spread), dtype=kind)
    return {
        "flips": flips(stored, right),
        "flips_centred": flips_centred,
        "ties": ties(stored, k),
        "ties_centred": ties(centred, k),
        "error": error(stored, exact),
        "error_centred": error(centred, exact),
        "load": load(stored, k),
        "load_exact": load(exact, k),
        "theory_gap": (torch.nextafter(near, torch.tensor(torch.inf, dtype=kind)) - near).item(),
    }


def chosen(logits: Tensor, k: int) -> Tensor:
    """Tokens × experts: whether the token goes there; among equal logits the lower index wins."""
    least = logits.topk(k).values[:, -1:]
    above, equal = logits > least, logits == least
    return above | (equal & (equal.cumsum(-1) <= k - above.sum(-1, keepdim=True)))


def flips(logits: Tensor, right: Tensor) -> float:
    """The share of tokens that do not go where they should."""
    k = int(right[0].sum())
    return float((chosen(logits, k) != right).any(-1).double().mean().item())


def ties(logits: Tensor, k: int) -> float:
    if k >= logits.shape[1]:
        return 0.0
    top = logits.topk(k + 1).values
    return float((top[:, k - 1] == top[:, k]).double().mean().item())


def error(logits: Tensor, exact: Tensor) -> float:
    return float((logits.softmax(-1) - exact.softmax(-1)).abs().amax(-1).mean().item())


def load(logits: Tensor, k: int) -> float:
    counts = chosen(logits, k).double().sum(0)
    return float((counts.max() / counts.mean()).item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
