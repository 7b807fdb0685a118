"""float16 keeps 11 bits and ends at 65504: 2049 becomes 2048, 70000 becomes inf, 1e-8 becomes 0, exp(11.1) overflows.

What one number format can hold, measured by storing numbers and looking at what comes back: powers of two are halved
until nothing is left, integers 2^k + 1 tried until one is lost, overflow found by bisection (theory: exp at ln max,
the square at √max). Then four small computations in `dtype`: (1 + 0.001) − 1; softmax of (20, 10, 0) with and without
subtracting the maximum; the variance of 1000 numbers, half 99 and half 101 (exactly 1), as E[x²] − E[x]² and as
E[(x − mean)²]; and Adam's eps. The chart shows the worst relative error among 8 numbers at each of 193 sizes from
1e-12 to 1e12: flat at eps/2 where the format is healthy, 1 where a number becomes 0, inf where it overflows.
Nothing is random. Source: IEEE 754-2019; Kalamkar et al. 2019, A study of BFLOAT16 for deep learning training.
"""

import math
from collections.abc import Callable, Generator
from fractions import Fraction
from typing import Literal

import torch

TITLE = {"zh": "一种浮点格式能装下什么", "en": "What a number format can hold"}
PARAMS = {"dtype": {"zh": "数据类型", "en": "dtype"}}
COLUMNS = {
    "size": {"zh": "数的大小", "en": "size of the number"},
    "rel_err": {"zh": "存储的相对误差", "en": "relative error of storing it"},
    "half_eps": {"zh": "eps/2", "en": "eps/2"},
}
METRICS = {
    "significand_bits": {"zh": "有效位数", "en": "bits of the significand", "unit": "bit"},
    "decimal_digits": {"zh": "十进制有效位数", "en": "decimal digits"},
    "eps": {"zh": "1 与下一个数的间隔 eps", "en": "gap between 1 and the next number, eps"},
    "max": {"zh": "最大的有限数", "en": "largest finite number"},
    "smallest_normal": {"zh": "最小的正规数", "en": "smallest normal number"},
    "smallest_subnormal": {"zh": "最小的正数", "en": "smallest positive number"},
    "first_lost_integer": {"zh": "第一个无法精确表示的整数", "en": "first integer that is lost"},
    "stored_0p1": {"zh": "0.1 存成", "en": "0.1 is stored as"},
    "stored_pi": {"zh": "π 存成", "en": "π is stored as"},
    "stored_1_plus_1_256": {"zh": "1 + 1/256 存成", "en": "1 + 1/256 is stored as"},
    "stored_70000": {"zh": "70000 存成", "en": "70000 is stored as"},
    "stored_1e_8": {"zh": "1e-8（Adam 的 eps）存成", "en": "1e-8, Adam's eps, is stored as"},
    "adam_step_at_zero_gradient": {"zh": "梯度为 0 时的 0/(√0 + 1e-8)", "en": "0/(√0 + 1e-8), Adam at zero gradient"},
    "one_plus_0p001_minus_1": {"zh": "(1 + 0.001) − 1", "en": "(1 + 0.001) − 1"},
    "cancellation_rel_err": {"zh": "(1 + 0.001) − 1 的相对误差", "en": "relative error of (1 + 0.001) − 1"},
    "exp_overflow_x": {"zh": "exp(x) 从这里起溢出", "en": "exp(x) overflows from"},
    "theory_exp_overflow_x": {"zh": "理论值 ln max", "en": "in theory, ln max"},
    "square_overflow_x": {"zh": "x² 从这里起溢出", "en": "x² overflows from"},
    "theory_square_overflow_x": {"zh": "理论值 √max", "en": "in theory, √max"},
    "softmax_naive": {"zh": "直接写的 softmax(20, 10, 0) 第一项", "en": "naive softmax(20, 10, 0), first term"},
    "softmax_stable": {"zh": "减去最大值后的第一项", "en": "first term after subtracting the maximum"},
    "variance_naive": {"zh": "E[x²] − E[x]²（真值 1）", "en": "E[x²] − E[x]² (true value 1)"},
    "variance_two_pass": {"zh": "E[(x − 均值)²]（真值 1）", "en": "E[(x − mean)²] (true value 1)"},
}
CHART = {
    "transform": [{"fold": ["rel_err", "half_eps"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# where exp overflows, and the bits of the significand: (1 + 2⁻ᵏ) − 1 is 0 from k = p on
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "exp", "spacing": "even", "n": 720, "x": 720.0},
    },
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "small_part", "spacing": "halving", "n": 60, "x": 8.673617379884035e-19},
    },
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float16",
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    limits = torch.finfo(form)
    eps = halve_while(lambda size: stored(1 + size, form) != 1)
    for eighth in range(-96, 97):
        size = 10 ** (eighth / 8)
        yield {"size": size, "rel_err": worst_rel_err(size, form), "half_eps": eps / 2}
    difference = stored(stored(1 + 0.001, form) - 1, form)
    logits = torch.tensor([20.0, 10.0, 0.0], dtype=form)
    naive, stable = logits.exp(), (logits - logits.max()).exp()
    sample = torch.tensor([99.0, 101.0], dtype=form).repeat(500)
    zero = torch.zeros((), dtype=form)
    return {
        "significand_bits": 1 - round(math.log2(eps)),
        "decimal_digits": (1 - math.log2(eps)) * math.log10(2),
        "eps": eps,
        "max": limits.max,
        "smallest_normal": limits.smallest_normal,
        "smallest_subnormal": halve_while(lambda size: stored(size, form) != 0),
        "first_lost_integer": next(2**k + 1 for k in range(1, 64) if stored(2**k + 1, form) != 2**k + 1),
        "stored_0p1": stored(0.1, form),
        "stored_pi": stored(math.pi, form),
        "stored_1_plus_1_256": stored(1 + 1 / 256, form),
        "stored_70000": stored(70000, form),
        "stored_1e_8": stored(1e-8, form),
        "adam_step_at_zero_gradient": (zero / (zero.sqrt() + stored(1e-8, form))).item(),
        "one_plus_0p001_minus_1": difference,
        "cancellation_rel_err": abs(difference - 0.001) / 0.001,
        "exp_overflow_x": overflow_from(lambda x: torch.tensor(x, dtype=form).exp().item()),
        "theory_exp_overflow_x": math.log(limits.max),
        "square_overflow_x": overflow_from(lambda x: torch.tensor(x, dtype=form).square().item()),
        "theory_square_overflow_x": math.sqrt(limits.max),
        "softmax_naive": (naive / naive.sum())[0].item(),
        "softmax_stable": (stable / stable.sum())[0].item(),
        "variance_naive": (sample.square().mean() - sample.mean().square()).item(),
        "variance_two_pass": (sample - sample.mean()).square().mean().item(),
    }


def stored(number: float, form: torch.dtype) -> float:
    """What comes back of a number that was kept in this format."""
    return float(torch.tensor(number, dtype=form))


def worst_rel_err(size: float, form: torch.dtype) -> float:
    """The largest relative rounding error among 8 exact fractions between `size` and 1.22 times that."""
    exact = [Fraction(size) * (1 + Fraction(part, 37)) for part in range(1, 9)]
    kept = torch.tensor([float(number) for number in exact], dtype=form).tolist()
    if any(map(math.isinf, kept)):
        return math.inf
    return max(float(abs(Fraction(back) - number) / number) for back, number in zip(kept, exact, strict=True))


def halve_while(survives: Callable[[float], bool]) -> float:
    """The last power of two, from 1 downwards, that survives."""
    size = 1.0
    while survives(size / 2):
        size /= 2
    return size


def overflow_from(f: Callable[[float], float]) -> float:
    """Where a growing function becomes inf, by bisection on float64 numbers (each rounded to the format by f)."""
    fine, over = 0.0, 1.0
    while not math.isinf(f(over)):
        fine, over = over, 2 * over
    while fine < (middle := (fine + over) / 2) < over:
        fine, over = (fine, middle) if math.isinf(f(middle)) else (middle, over)
    return fine


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
