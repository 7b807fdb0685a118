"""A kernel that accumulates in float16 overflows on the way although the result fits, and a norm makes all of it nan.

1024 outputs, each the sum of `n` products of an input and a weight in float16, with products of rms `x`. They are added
in three ways: one after another in float16 (half); 16 at a time in float16, these partial sums in float32 (blocks); all
in float32 (single). Every result is stored in float16. Then groups of 64 outputs are normalised in float32, as by a
group norm: one inf in a group makes 64 nan.

Measured along the sum: the fraction of outputs that have overflowed; at the end the fraction that is inf, the fraction
nan after the norm, and the rms error of the finite ones over the rms of the sums. Theory: the sums are a random walk of
rms x·√n, and by the reflection principle a walk has exceeded a level on its way twice as often as it ends beyond it: so
float16 sums lose twice as many outputs. Random: inputs and weights.
Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, ch. 4; Feller 1968, An Introduction to Probability.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "float16 累加的内核", "en": "Kernels that accumulate in float16"}
PARAMS = {
    "x": {"zh": "乘积的均方根", "en": "rms of the products", "ge": 1e-3, "le": 1e4},
    "n": {"zh": "每个输出的乘积个数", "en": "products in an output", "ge": 32, "le": 8192},
}
COLUMNS = {
    "terms": {"zh": "已加的项数", "en": "terms added so far"},
    "half": {"zh": "float16 累加：已溢出的比例", "en": "float16 sum: fraction overflowed"},
    "blocks": {"zh": "分块累加：已溢出的比例", "en": "sum in blocks: fraction overflowed"},
    "single": {"zh": "float32 累加：存下会溢出的比例", "en": "float32 sum: fraction that would overflow if stored"},
}
METRICS = {
    "half_inf": {"zh": "float16 累加：溢出的比例", "en": "float16 sum: fraction that overflowed"},
    "blocks_inf": {"zh": "分块累加：溢出的比例", "en": "sum in blocks: fraction that overflowed"},
    "single_inf": {"zh": "float32 累加：溢出的比例", "en": "float32 sum: fraction that overflowed"},
    "half_nan": {"zh": "float16 累加：归一化后 nan 的比例", "en": "float16 sum: fraction nan after the norm"},
    "single_nan": {"zh": "float32 累加：归一化后 nan 的比例", "en": "float32 sum: fraction nan after the norm"},
    "half_err": {"zh": "float16 累加：误差", "en": "float16 sum: error"},
    "blocks_err": {"zh": "分块累加：误差", "en": "sum in blocks: error"},
    "single_err": {"zh": "float32 累加：误差", "en": "float32 sum: error"},
    "theory_half": {"zh": "随机游走预测的溢出比例", "en": "fraction that a random walk predicts to overflow"},
}
CHART = {
    "transform": [{"fold": ["half", "blocks", "single"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "terms", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
OUTPUTS, GROUP, BLOCK, LIMIT = 1024, 64, 16, 65520.0


def run(x: float = 600.0, n: int = 4096) -> Generator[Row, None, Metrics]:
    n -= n % 32
    half = torch.zeros(OUTPUTS, dtype=torch.float16)
    blocks, single = torch.zeros(OUTPUTS), torch.zeros(OUTPUTS)
    exact = torch.zeros(OUTPUTS, dtype=torch.float64)
    step = max(n // 32 // BLOCK, 1) * BLOCK
    for start in range(0, n, BLOCK):
        inputs = (math.sqrt(x) * torch.randn(BLOCK, OUTPUTS)).half()
        weights = (math.sqrt(x) * torch.randn(BLOCK, OUTPUTS)).half()
        products = inputs.float() * weights.float()
        partial = torch.zeros(OUTPUTS, dtype=torch.float16)
        for product in products:
            half = (half.float() + product).half()
            partial = (partial.float() + product).half()
        blocks = blocks + partial.float()
        single = single + products.sum(0)
        exact += products.double().sum(0)
        if (start + BLOCK) % step == 0 or start + BLOCK == n:
            yield {"terms": start + BLOCK, "half": lost(half), "blocks": lost(blocks), "single": lost(single)}
    return {
        "half_inf": lost(half),
        "blocks_inf": lost(blocks),
        "single_inf": lost(single),
        "half_nan": nan_after_norm(half),
        "single_nan": nan_after_norm(single),
        "half_err": error(half, exact),
        "blocks_err": error(blocks, exact),
        "single_err": error(single, exact),
        "theory_half": 2 * math.erfc(LIMIT / (x * math.sqrt(2 * n))),
    }


def lost(values: Tensor) -> float:
    """The fraction that is not finite in float16."""
    return float((~values.half().isfinite()).double().mean())


def nan_after_norm(values: Tensor) -> float:
    """The fraction that is nan after each group of 64 is brought to mean 0 and variance 1 in float32."""
    groups = values.half().float().view(-1, GROUP)
    normed = (groups - groups.mean(1, keepdim=True)) / (groups.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    return float(normed.isnan().double().mean())


def error(values: Tensor, exact: Tensor) -> float:
    """The rms error of what is finite in float16, over the rms of the exact sums."""
    found = values.half().double()
    fine = found.isfinite()
    if not fine.any():
        return math.inf
    return float((found - exact)[fine].square().mean().sqrt() / exact.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
