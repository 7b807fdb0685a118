"""Rotary angles in bf16 are off by whole turns at long positions; only cos and sin may be stored in low precision.

Rotary embeddings of heads of width `d`: pair i turns by position·θᵢ, θᵢ = `base`^(−2i/d), positions up to `x`. Where
the rounding to `dtype` happens:

frequencies  θ is stored in `dtype` (a buffer converted with the model), positions and product in float32
angles       θ, position and their product in `dtype`
tables       everything in float32, cos and sin stored in `dtype`

error: the largest error of an angle over the pairs, in radians, at position x; beyond π it says nothing any more.
score: root mean square error of q·k, for `n` pairs q, k ~ N(0, 1/d) at the positions x and x − `distance`, relative to
the root mean square of the exact scores. In exact arithmetic a score depends on the distance alone. theory: x·eps/4,
the largest error of a frequency between ½ and 1, times x. The rows go through x/16 … x. Random: q, k. Source: Su et
al. 2021, RoFormer (rotary position embedding); IEEE 754-2019.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "旋转位置编码的角度", "en": "The angles of rotary embeddings"}
PARAMS = {
    "x": {"zh": "位置", "en": "position", "ge": 1, "le": 1000000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "base": {"zh": "base（rope_theta）", "en": "base (rope_theta)", "ge": 2, "le": 1e8},
    "distance": {"zh": "两个 token 的距离", "en": "distance of the two tokens", "ge": 0, "le": 1000},
    "d": {"zh": "头的宽度", "en": "width of a head", "ge": 4, "le": 256},
    "n": {"zh": "q、k 的对数", "en": "pairs of q and k", "ge": 1, "le": 500},
}
COLUMNS = {
    "position": {"zh": "位置", "en": "position"},
    "frequencies": {"zh": "得分误差：频率存成低精度", "en": "error of the score: frequencies stored"},
    "angles": {"zh": "得分误差：角度用低精度算", "en": "error of the score: angles computed"},
    "tables": {"zh": "得分误差：只存 cos、sin", "en": "error of the score: only cos and sin stored"},
}
METRICS = {
    "score_frequencies": {"zh": "得分误差：频率存成低精度", "en": "error of the score: frequencies stored"},
    "score_angles": {"zh": "得分误差：角度用低精度算", "en": "error of the score: angles computed"},
    "score_tables": {"zh": "得分误差：只存 cos、sin", "en": "error of the score: only cos and sin stored"},
    "error_frequencies": {
        "zh": "角度误差：频率存成低精度",
        "en": "error of an angle: frequencies stored",
        "unit": "rad",
    },
    "error_angles": {"zh": "角度误差：角度用低精度算", "en": "error of an angle: angles computed", "unit": "rad"},
    "stored_position": {"zh": "位置存成低精度", "en": "the position as stored"},
    "theory": {"zh": "x·eps/4", "en": "x·eps/4", "unit": "rad"},
}
CHART = {
    "transform": [{"fold": ["frequencies", "angles", "tables"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "position", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# whether v and v + 1 are still two positions
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "neighbour", "spacing": "doubling", "n": 18, "x": ["x"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("frequencies", "angles", "tables")


def run(
    x: int = 8000,
    dtype: Literal["float16", "bfloat16", "float32"] = "bfloat16",
    base: float = 10000.0,
    distance: int = 5,
    d: int = 128,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    pairs = d // 2
    q, k = (torch.randn(2, n, pairs, 2) / d**0.5).double()
    kind = getattr(torch, dtype)
    theta = base ** (-torch.arange(pairs).double() * 2 / (2 * pairs))
    for part in range(1, 17):
        at = max(1, x * part // 16)
        yield {"position": at, **score_errors(q, k, at, distance, theta, kind)}
    error = {way: (angles(way, x, theta, kind) - x * theta).abs().max().item() for way in WAYS}
    return {
        **{f"score_{way}": value for way, value in score_errors(q, k, x, distance, theta, kind).items()},
        "error_frequencies": error["frequencies"],
        "error_angles": error["angles"],
        "stored_position": torch.tensor(float(x)).to(kind).item(),
        "theory": x * torch.finfo(kind).eps / 4,
    }


def angles(way: str, position: int, theta: Tensor, kind: torch.dtype) -> Tensor:
    """The angles at a position, in float64, as each way computes them."""
    if way == "frequencies":
        return (position * theta.to(kind).float()).double()
    if way == "angles":
        return (torch.tensor(float(position)).to(kind) * theta.to(kind)).double()
    return (position * theta.float()).double()


def score_errors(
    q: Tensor, k: Tensor, position: int, distance: int, theta: Tensor, kind: torch.dtype
) -> dict[str, float]:
    """The error of the scores of each way, relative to the exact scores."""
    other = max(0, position - distance)
    exact = (rotated(q, position * theta) * rotated(k, other * theta)).sum((1, 2))
    found = {}
    for way in WAYS:
        kept = kind if way == "tables" else torch.float64
        turned = (rotated(v, angles(way, at, theta, kind), kept) for v, at in ((q, position), (k, other)))
        first, second = turned
        error = (first * second).sum((1, 2)) - exact
        found[way] = (error.square().mean().sqrt() / exact.square().mean().sqrt()).item()
    return found


def rotated(values: Tensor, angle: Tensor, kind: torch.dtype = torch.float64) -> Tensor:
    """Pairs turned by their angles, whose cos and sin are stored in `kind`."""
    cos, sin = angle.cos().to(kind).double(), angle.sin().to(kind).double()
    a, b = values[..., 0], values[..., 1]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
