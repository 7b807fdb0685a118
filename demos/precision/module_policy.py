"""Autocast keeps norms and softmax in float32; a policy that casts whole modules does not, and padded rows become nan.

64 samples of 16 positions with 32 features, x ~ N(0, `size`²); the first `padded` samples are padding: all zeros, every
position masked. Two layers, each with weights N(0, 1/32): h = x·W, divided by the root of its mean square plus eps;
and attention scores x·W·q with an additive mask of −`mask`, a softmax over the positions, the mean of x with these
weights. The low format is `dtype`. What is computed in it:
autocast   the products, by a list of operations; all else is float32, to which eps and mask belong (DDP as it is used)
policy     everything, with weights, inputs, mask and eps cast to it (FSDP's mixed precision, model.half())
wide       as policy, but the norm is a module in float32, and the mask is the lowest finite number of the low format

Measured: the fraction of samples with an inf or nan in either output, the distance of the finite norms from float32
relative to theirs, and whether the mean over all outputs, as a loss would take it, is finite. Theory: float16 stores
numbers below 3e-8 as 0 and those beyond 65520 as inf; bfloat16 stores the lowest number of float32 as −inf; a square
exceeds 65504 from 256 on, and the norm of that row is 0. Random: weights and x. Source: the documentation of
torch.distributed.fsdp.MixedPrecisionPolicy and of torch.amp (operations that autocast to float32).
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "自动混合精度与按模块转换的精度策略", "en": "Autocast, and a policy that casts whole modules"}
PARAMS = {
    "size": {"zh": "输入的标准差", "en": "standard deviation of the input", "ge": 1e-3, "le": 1e6},
    "eps": {"zh": "归一化的 eps", "en": "eps of the norm", "ge": 1e-12, "le": 1},
    "mask": {"zh": "被屏蔽的位置减去", "en": "subtracted at masked positions", "ge": 1, "le": 3.4028234663852886e38},
    "padded": {"zh": "填充样本数", "en": "samples of padding", "unit": "sample", "ge": 0, "le": 64},
    "dtype": {"zh": "低精度格式", "en": "low format"},
}
COLUMNS = {
    "policy": {"zh": "精度策略", "en": "policy"},
    "bad": {"zh": "含 inf 或 nan 的样本", "en": "samples with inf or nan"},
    "norm_bad": {"zh": "其中来自归一化", "en": "of the norm"},
    "mask_bad": {"zh": "其中来自注意力", "en": "of the attention"},
    "err": {"zh": "归一化的相对误差", "en": "relative error of the norm"},
}
METRICS = {
    "autocast_bad": {"zh": "autocast：坏样本的比例", "en": "autocast: fraction of bad samples"},
    "policy_bad": {"zh": "按模块转换：坏样本的比例", "en": "whole modules: fraction of bad samples"},
    "wide_bad": {"zh": "归一化和掩码改好：坏样本的比例", "en": "norm and mask mended: fraction of bad samples"},
    "norm_bad": {"zh": "按模块转换：归一化坏的比例", "en": "whole modules: fraction with a bad norm"},
    "mask_bad": {"zh": "按模块转换：注意力坏的比例", "en": "whole modules: fraction with bad attention"},
    "policy_loss_finite": {"zh": "按模块转换：平均是有限数", "en": "whole modules: the mean is finite"},
    "autocast_err": {"zh": "autocast：归一化的相对误差", "en": "autocast: relative error of the norm"},
    "policy_err": {"zh": "按模块转换：归一化的相对误差", "en": "whole modules: relative error of the norm"},
    "wide_err": {"zh": "归一化改好：相对误差", "en": "norm mended: its relative error"},
    "largest_square": {"zh": "最大的 h²", "en": "largest h²"},
    "eps_stored": {"zh": "eps 存成", "en": "eps as stored"},
    "mask_stored": {"zh": "掩码存成", "en": "mask as stored"},
}
WORDS = {
    "autocast": {"zh": "autocast", "en": "autocast"},
    "policy": {"zh": "按模块转换", "en": "whole modules"},
    "wide": {"zh": "归一化和掩码改好", "en": "norm and mask mended"},
}
CHART = {
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "bad", "type": "quantitative"},
        "y": {"field": "policy", "type": "nominal", "sort": None},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_functions", "params": {"f": "square"}}]

Row = dict[str, float | str | None]
Metrics = dict[str, float | None]
SAMPLES, POSITIONS, FEATURES = 64, 16, 32


def run(
    size: float = 1.0,
    eps: float = 1e-8,
    mask: float = 1e9,
    padded: int = 16,
    dtype: Literal["float16", "bfloat16"] = "float16",
) -> Generator[Row, None, Metrics]:
    low, wide = getattr(torch, dtype), torch.float32
    weight, query = torch.randn(FEATURES, FEATURES) / FEATURES**0.5, torch.randn(FEATURES) / FEATURES**0.5
    x = size * torch.randn(SAMPLES, POSITIONS, FEATURES)
    x[:padded] = 0
    subtracted = torch.zeros(SAMPLES, POSITIONS)
    subtracted[:padded] = -mask
    subtracted[:, -4:] = -mask  # the others are padded at their end
    finite = subtracted.clamp(min=torch.finfo(low).min)
    exact = norm(product(x, weight, wide), eps)
    ways = {  # the formats of the norm, of the scores; the mask
        "autocast": (wide, wide, subtracted),
        "policy": (low, low, subtracted),
        "wide": (wide, low, finite),
    }
    found: dict[str, Metrics] = {}
    sums = {}
    for policy, (norm_form, score_form, added) in ways.items():
        normed = norm(product(x, weight, low).to(norm_form), eps)
        scores = product(x, weight @ query, low).to(score_form)
        attended = ((scores + added.to(score_form)).softmax(1)[..., None].to(low) * x.to(low)).sum(1)
        norm_bad, mask_bad = bad(normed), bad(attended)
        found[policy] = {
            "bad": share_of(norm_bad | mask_bad),
            "norm_bad": share_of(norm_bad),
            "mask_bad": share_of(mask_bad),
            "err": error(normed[~norm_bad], exact[~norm_bad]),
        }
        sums[policy] = normed.double().sum() + attended.double().sum()
        yield {"policy": policy, **found[policy]}
    return (
        {f"{policy}_bad": row["bad"] for policy, row in found.items()}
        | {f"{policy}_err": row["err"] for policy, row in found.items()}
        | {
            "norm_bad": found["policy"]["norm_bad"],
            "mask_bad": found["policy"]["mask_bad"],
            "policy_loss_finite": int(sums["policy"].isfinite()),
            "largest_square": float(product(x, weight, wide).double().square().max()),
            "eps_stored": float(torch.tensor(eps).to(low)),
            "mask_stored": float(torch.tensor(-mask).to(low)),
        }
    )


def product(x: Tensor, weight: Tensor, form: torch.dtype) -> Tensor:
    return x.to(form) @ weight.to(form)


def norm(h: Tensor, eps: float) -> Tensor:
    """Each row of h over the root of its mean square plus eps, in the format of h, in which eps is stored as well."""
    return h * (h.square().mean(-1, keepdim=True) + torch.tensor(eps).to(h.dtype)).rsqrt()


def bad(out: Tensor) -> Tensor:
    """Which samples hold an inf or nan."""
    return ~out.flatten(1).isfinite().all(1)


def share_of(samples: Tensor) -> float:
    return float(samples.double().mean())


def error(out: Tensor, exact: Tensor) -> float | None:
    """The distance from float32 relative to its norm; None if there is nothing to compare."""
    size = float(exact.double().norm())
    return float((out.double() - exact.double()).norm()) / size if size else None


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
