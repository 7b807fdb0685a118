"""Merging a small adapter into a bf16 or int8 weight loses it: what is below half a gap of the weight is rounded off.

A base weight W of 256 × 256 from N(0, 0.02²), stored in `base`, and the update Δ = B·A of rank `rank`, A and B normal,
scaled so that its root mean square is `x` times that of W. int8 and int4: one scale a row, its largest absolute value
over 127 or 7, as an absmax quantiser has it; bfloat16 and float16 store the numbers themselves. Three ways to have W +
Δ:

merged      base + Δ computed in float32, stored in `base` again (int: with the scales of the base)
stochastic  the same, but rounded up or down with the probability that makes the mean exact
apart       the adapter is kept beside the base: base(x) + Δ(x), in float32

unchanged: fraction of the entries that the merge does not change. kept: of Δ, ⟨merged − base, Δ⟩/⟨Δ, Δ⟩, 1 if all of
it arrives on average. error: |merged − base − Δ|/|Δ|. output: |error·h|/|Δ·h| for 64 inputs h ~ N(0, 1). The rows scan
x from x/32 to 2x. Random: W, A, B, h, the roundings. Source: Hu et al. 2021, LoRA; Dettmers et al. 2023, QLoRA.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "把 LoRA 合并进低精度的权重", "en": "Merging LoRA into a low-precision weight"}
PARAMS = {
    "base": {"zh": "权重的存法", "en": "how the weight is stored"},
    "x": {"zh": "更新相对权重的大小", "en": "size of the update relative to the weight", "ge": 1e-6, "le": 10},
    "rank": {"zh": "秩", "en": "rank", "ge": 1, "le": 256},
}
COLUMNS = {
    "x": {"zh": "更新的相对大小", "en": "relative size of the update"},
    "unchanged": {"zh": "没有变的权重比例", "en": "fraction of weights unchanged"},
    "kept": {"zh": "留下的更新", "en": "fraction of the update kept"},
}
METRICS = {
    "unchanged": {"zh": "没有变的权重比例", "en": "fraction of weights unchanged"},
    "kept": {"zh": "留下的更新", "en": "fraction of the update kept"},
    "error": {"zh": "合并的误差（相对 Δ）", "en": "error of the merge, relative to Δ"},
    "output_merged": {"zh": "输出的误差（相对 Δ·h）：合并", "en": "error of the output, relative to Δ·h: merged"},
    "output_apart": {"zh": "输出的误差（相对 Δ·h）：不合并", "en": "error of the output, relative to Δ·h: apart"},
    "kept_stochastic": {"zh": "留下的更新：随机舍入", "en": "fraction of the update kept: stochastic rounding"},
    "output_stochastic": {"zh": "输出的误差：随机舍入", "en": "error of the output: stochastic rounding"},
    "gap": {"zh": "相邻两数的间隔（相对权重的均方根）", "en": "gap between stored numbers, relative to the rms"},
}
CHART = {
    "transform": [{"fold": ["unchanged", "kept"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
D, STD = 256, 0.02


def run(
    base: Literal["bfloat16", "float16", "int8", "int4"] = "bfloat16", x: float = 1e-3, rank: int = 8
) -> Generator[Row, None, Metrics]:
    weight = STD * torch.randn(D, D).double()
    delta = (torch.randn(D, rank) @ torch.randn(rank, D)).double()
    delta *= STD / delta.square().mean().sqrt()
    gap = gaps(base, weight)
    old = stored(base, weight, gap)
    if not base.startswith("int"):
        gap = gaps(base, old)
    for k in range(13):
        at = x * 2.0 ** (k / 2 - 5)
        new = stored(base, old + at * delta, gap)
        yield {"x": at, "unchanged": same(new, old), "kept": kept(new - old, delta * at)}
    update = x * delta
    new = stored(base, old + update, gap)
    up = torch.rand(D, D).double()
    noisy = gap * ((old + update) / gap + up).floor()
    h = torch.randn(D, 64).double()
    apart = ((update.float() @ h.float()).double() - update @ h).norm() / (update @ h).norm()
    return {
        "unchanged": same(new, old),
        "kept": kept(new - old, update),
        "error": ((new - old - update).norm() / update.norm()).item(),
        "output_merged": (((new - old - update) @ h).norm() / (update @ h).norm()).item(),
        "output_apart": apart.item(),
        "kept_stochastic": kept(noisy - old, update),
        "output_stochastic": (((noisy - old - update) @ h).norm() / (update @ h).norm()).item(),
        "gap": (gap.square().mean().sqrt() / old.square().mean().sqrt()).item(),
    }


def gaps(base: str, weight: Tensor) -> Tensor:
    """The distance of neighbouring stored numbers at each weight."""
    if base.startswith("int"):
        return (weight.abs().amax(1, keepdim=True) / (127 if base == "int8" else 7)).expand_as(weight)
    kind = getattr(torch, base)
    exponent = torch.floor(torch.log2(weight.abs().clamp_min(1e-30)))
    smallest = torch.finfo(kind).smallest_normal * torch.finfo(kind).eps
    return (2.0**exponent * torch.finfo(kind).eps).clamp_min(smallest)


def stored(base: str, values: Tensor, gap: Tensor) -> Tensor:
    """The nearest number that the base can hold."""
    if base.startswith("int"):
        return gap * (values / gap).round()
    return values.float().to(getattr(torch, base)).double()


def same(a: Tensor, b: Tensor) -> float:
    return float((a == b).double().mean().item())


def kept(change: Tensor, update: Tensor) -> float:
    """The component of the change along the update, relative to the update."""
    return float(((change * update).sum() / (update * update).sum()).item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
