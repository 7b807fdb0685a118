"""Activations beyond 65504 kill float16; a float32 block or a rescaled one is right, clamping finite but wrong.

Four gated blocks of a network that was trained in bfloat16: h ← h + (relu(norm(h)·G)·(norm(h)·A))·B, 64 rows h ~ N(0,
1)⁶⁴, G and A 64 × 128 with N(0, 2/64), B 128 × 64 with N(0, 1/128); norm is the RMS norm, in float32. In each block
`outliers` of the 128 hidden units have their columns of G and A multiplied by √x and their row of B divided by x, as
the massive activations of trained models are large and yet used. All is in float16 (accumulated in float32, rounded):

none     nothing is done
clamp    hidden activations are cut off at ±64000
float32  the block is computed in float32, the stream h stays in float16
rescale  A is divided and B multiplied by a power of two, one for each block, with which its largest hidden activation
         is at most 16384: the block is linear in A, so that the function stays the same

Beside them bfloat16. Exact is float64. Theory: hidden units overflow when x·|u·v| > 65504; a common power of two
pushes the others towards 6·10⁻⁸, below which float16 has 0. Random: the weights, the rows.
Source: Kalamkar et al. 2019, A study of BFLOAT16; Sun et al. 2024, Massive activations in large language models.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "激活值超过 65504：几种救法", "en": "Activations beyond 65504: what helps"}
PARAMS = {
    "x": {"zh": "离群单元放大", "en": "outlier units times", "ge": 1, "le": 1e12},
    "outliers": {"zh": "离群单元个数", "en": "outlier units", "ge": 0, "le": 128},
}
COLUMNS = {
    "block": {"zh": "第几块", "en": "block"},
    "largest": {"zh": "最大的激活值", "en": "largest activation"},
    "none": {"zh": "不处理：误差", "en": "nothing done: error"},
    "clamp": {"zh": "截断：误差", "en": "clamp: error"},
    "float32": {"zh": "这一块用 float32：误差", "en": "block in float32: error"},
    "rescale": {"zh": "缩放权重：误差", "en": "rescaled weights: error"},
    "bfloat16": {"zh": "bfloat16：误差", "en": "bfloat16: error"},
}
METRICS = {
    "largest": {"zh": "最大的激活值（准确）", "en": "largest activation (exact)"},
    "nan_rows": {"zh": "不处理：有 nan 的行", "en": "nothing done: fraction of rows with nan"},
    "none": {"zh": "不处理：相对误差", "en": "nothing done: relative error"},
    "clamp": {"zh": "截断：相对误差", "en": "clamp: relative error"},
    "float32": {"zh": "这一块用 float32：相对误差", "en": "block in float32: relative error"},
    "rescale": {"zh": "缩放权重：相对误差", "en": "rescaled weights: relative error"},
    "bfloat16": {"zh": "bfloat16：相对误差", "en": "bfloat16: relative error"},
    "theory_limit": {"zh": "float16 的最大值", "en": "largest number of float16"},
}
CHART = {
    "transform": [{"fold": ["clamp", "float32", "rescale", "bfloat16"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "block", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
CURES = ["none", "clamp", "float32", "rescale", "bfloat16"]


def run(x: float = 3e5, outliers: int = 4) -> Generator[Row, None, Metrics]:
    rows = torch.randn(64, 64)
    exact = rows.double()
    streams = {cure: rows.bfloat16() if cure == "bfloat16" else rows.half() for cure in CURES}
    tops, errors = [], dict.fromkeys(CURES, 0.0)
    for block in range(1, 5):
        g, a = (torch.randn(64, 128) * (2 / 64) ** 0.5 for _ in range(2))
        b = torch.randn(128, 64) / 128**0.5
        g[:, :outliers] *= x**0.5
        a[:, :outliers] *= x**0.5
        b[:outliers] /= x
        hidden = (normed(exact, torch.float64) @ g.double()).relu() * (normed(exact, torch.float64) @ a.double())
        exact = exact + hidden @ b.double()
        tops.append(hidden.abs().max().item())
        power = 2.0 ** -max(0, math.ceil(math.log2(max(tops[-1], 1) / 16384)))
        for cure in CURES:
            factor = power if cure == "rescale" else 1.0
            streams[cure] = passed(streams[cure], g, a * factor, b / factor, cure)
            errors[cure] = relative(streams[cure], exact)
        yield {"block": block, "largest": tops[-1], **errors}
    return {
        "largest": max(tops),
        "nan_rows": streams["none"].isnan().any(1).double().mean().item(),
        **errors,
        "theory_limit": torch.finfo(torch.float16).max,
    }


def passed(stream: Tensor, g: Tensor, a: Tensor, b: Tensor, cure: str) -> Tensor:
    """The stream after one block."""
    form = torch.float32 if cure == "float32" else stream.dtype
    inputs = normed(stream, torch.float32).to(form)
    hidden = product(inputs, g).relu() * product(inputs, a)
    if cure == "clamp":
        hidden = hidden.clamp(-64000, 64000)
    return (stream + product(hidden, b)).to(stream.dtype)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a·b in the dtype of a: b is rounded to it, the sum accumulated in float32 and rounded."""
    return (a.float() @ b.to(a.dtype).float()).to(a.dtype)


def normed(stream: Tensor, form: torch.dtype) -> Tensor:
    """RMS norm of each row, in `form`."""
    wide = stream.to(form)
    return wide * wide.square().mean(1, keepdim=True).rsqrt()


def relative(stream: Tensor, exact: Tensor) -> float:
    """The rms of the error over that of the exact stream; nan or inf if there is one."""
    return float((stream.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
