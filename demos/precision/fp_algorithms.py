"""The same formula written in two ways: in a short format one is off by 100 % or nan, the other right to a few digits.

Each case computes one thing in `dtype`, rounding after every operation, first naively, then carefully, and in float64:
  squares         (100 + x)² − 100²; as x·(200 + x)
  one_plus        (1 + x) − 1; as x, which never leaves the small numbers
  order           (x + 1) + 1 from the left; as x + (1 + 1), the small ones first
  softmax         eˣ/(eˣ + e⁰); with the maximum subtracted from both
  cross_entropy   −log of the other class's probability, softmax then log; as log(eˣ + e⁰) with the maximum taken out
  log_sigmoid     log(1/(1 + e^x)); as −max(x, 0) − log(1 + e^−|x|)
  variance        of 512 copies each of x − 1 and x + 1, E[v²] − E[v]²; as E[(v − mean)²]
  rms             root mean square of 1024 copies of x, squares in `dtype`; squared and summed in float32
  mean            of 4096 copies of x, added up one by one and divided; summed in float32
  batch_stat      running mean of a BN layer: 5000 updates r ← r + 0.001·(x − r) from 0, in `dtype`; in float32
The careful result is rounded to `dtype` at the end. The chart shows the relative error of both for x·2^k, k = −8 … 8.
Nothing is random. Source: Higham 2002, Accuracy and Stability of Numerical Algorithms; Micikevicius et al. 2018.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "同一个式子，两种写法", "en": "One formula, written in two ways"}
PARAMS = {
    "case": {"zh": "算什么", "en": "what is computed"},
    "x": {"zh": "x", "en": "x", "ge": -1e6, "le": 1e6},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "size": {"zh": "|x|", "en": "|x|"},
    "naive": {"zh": "直接写：相对误差", "en": "naive: relative error"},
    "careful": {"zh": "小心写：相对误差", "en": "careful: relative error"},
}
METRICS = {
    "naive": {"zh": "直接写的结果", "en": "naive result"},
    "careful": {"zh": "小心写的结果", "en": "careful result"},
    "exact": {"zh": "准确值（float64）", "en": "exact (float64)"},
    "naive_rel_err": {"zh": "直接写的相对误差", "en": "relative error, naive"},
    "careful_rel_err": {"zh": "小心写的相对误差", "en": "relative error, careful"},
    "naive_worst": {"zh": "直接写，图中最差的相对误差", "en": "naive, worst relative error in the chart"},
    "careful_worst": {"zh": "小心写，图中最差的相对误差", "en": "careful, worst relative error in the chart"},
    "naive_bad_share": {"zh": "直接写，错 10% 以上的 x 占比", "en": "naive, fraction of x wrong by over 10 %"},
    "careful_bad_share": {"zh": "小心写，错 10% 以上的 x 占比", "en": "careful, fraction of x wrong by over 10 %"},
}
CHART = {
    "transform": [{"fold": ["naive", "careful"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": {"size": 12}},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the naive forms of one_plus and of softmax
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "small_part", "spacing": "halving", "n": 10},
    },
    {"parameter": "dtype", "experiment": "dtype_functions", "params": {"f": "softmax", "spacing": "even", "n": 100}},
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    case: Literal[
        "squares",
        "one_plus",
        "order",
        "softmax",
        "cross_entropy",
        "log_sigmoid",
        "variance",
        "rms",
        "mean",
        "batch_stat",
    ] = "squares",
    x: float = 0.125,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    powers = [2 ** (quarter / 4) for quarter in range(-32, 33)]
    numbers = torch.tensor([x * power if x else power for power in powers] + [x], dtype=torch.float64)
    naive, careful, exact = (result.double().tolist() for result in CASES[case](numbers.to(form)))
    errors = {
        "naive": [relative(found, true) for found, true in zip(naive, exact, strict=True)],
        "careful": [relative(found, true) for found, true in zip(careful, exact, strict=True)],
    }
    for at, power in enumerate(powers):
        yield {"size": power * abs(x or 1), **{name: found[at] for name, found in errors.items()}}
    chart = {name: found[:-1] for name, found in errors.items()}
    return {
        "naive": naive[-1],
        "careful": careful[-1],
        "exact": exact[-1],
        "naive_rel_err": errors["naive"][-1],
        "careful_rel_err": errors["careful"][-1],
        **{f"{name}_worst": max(found) for name, found in chart.items()},
        **{f"{name}_bad_share": sum(e > 0.1 for e in found) / len(found) for name, found in chart.items()},
    }


def relative(found: float, exact: float) -> float:
    """|found − exact|/|exact|; a nan counts as infinitely wrong, equal numbers as right."""
    if found == exact:
        return 0.0
    if math.isnan(found) or not exact or not math.isfinite(exact):
        return math.inf
    return abs(found - exact) / abs(exact)


Result = tuple[Tensor, Tensor, Tensor]


def squares(x: Tensor) -> Result:
    hundred, gap = torch.full_like(x, 100), x.double()
    return (hundred + x).square() - hundred.square(), x * (2 * hundred + x), gap * (200 + gap)


def one_plus(x: Tensor) -> Result:
    return (1 + x) - 1, x, x.double()


def order(x: Tensor) -> Result:
    one = torch.ones_like(x)
    return (x + one) + one, x + (one + one), x.double() + 2


def softmax(x: Tensor) -> Result:
    logits = torch.stack([x, torch.zeros_like(x)])
    naive, stable = logits.exp(), (logits - logits.amax(0)).exp()
    return naive[0] / naive.sum(0), stable[0] / stable.sum(0), x.double().sigmoid()


def cross_entropy(x: Tensor) -> Result:
    logits = torch.stack([x, torch.zeros_like(x)])
    top = logits.amax(0)
    stable = (logits - top).exp()
    return -(stable[1] / stable.sum(0)).log(), top + stable.sum(0).log(), softplus(x.double())


def log_sigmoid(x: Tensor) -> Result:
    return (1 / (1 + x.exp())).log(), -x.clamp(min=0) - (-x.abs()).exp().log1p(), -softplus(x.double())


def softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ) without overflow."""
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


def variance(x: Tensor) -> Result:
    sample = torch.stack([x - 1, x + 1]).repeat(512, 1)
    naive = sample.square().mean(0) - sample.mean(0).square()
    wide = sample.float() - sample.float().mean(0)
    return naive, wide.square().mean(0).to(x.dtype), ((sample[1].double() - sample[0].double()) / 2).square()


def rms(x: Tensor) -> Result:
    rows = x.repeat(1024, 1)
    return rows.square().mean(0).sqrt(), rows.float().square().mean(0).sqrt().to(x.dtype), x.double().abs()


def mean(x: Tensor) -> Result:
    total = torch.zeros_like(x)
    for _ in range(4096):
        total = total + x
    return total / 4096, x.repeat(4096, 1).float().mean(0).to(x.dtype), x.double()


def batch_stat(x: Tensor) -> Result:
    short, wide = torch.zeros_like(x), torch.zeros_like(x.float())
    for _ in range(5000):
        short = short + 0.001 * (x - short)
        wide = wide + 0.001 * (x.float() - wide)
    return short, wide.to(x.dtype), x.double() * (1 - 0.999**5000)


CASES: dict[str, Callable[[Tensor], Result]] = {
    "squares": squares,
    "one_plus": one_plus,
    "order": order,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "log_sigmoid": log_sigmoid,
    "variance": variance,
    "rms": rms,
    "mean": mean,
    "batch_stat": batch_stat,
}


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
