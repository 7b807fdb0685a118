"""One function of one number in eight formats, each operation rounded, against exact arithmetic.

`f` is evaluated at `n` arguments v, the last of which is `x`: even v = x·k/n, halving v = x·2^(n−k), doubling
v = x·2^(k−n), at step k = 1 … n, rounded to float64. Every operation is rounded to the format, v itself first:

exp                  e^v
softmax              e^v/(e^v + 1), the weight of v beside a score of 0, the maximum not subtracted
softmax_gradient     softmax − 1, the gradient of cross-entropy where v is the right one
log_one_plus_exp     log(e^v + 1), cross-entropy where v is the wrong one
sigmoid_slope        s·(1 − s), s = 1/(1 + e^−v)
entropy              v·log(v), as in Σ p·log(p)
mean                 ((1 + v) + 2)/3
small_part           (1 + v) − 1, exactly v
neighbour            (v + 1) − v, exactly 1: from the first v whose successor is lost, it is not
adam_step            v/(32·√(v²/1024)), exactly ±1: Adam's first step without eps, 1 − β₂ being 2⁻¹⁰
unscaled             v is stored and brought into [½, 1) by a power of two, without rounding, as loss scaling does
difference_quotient  ((1 + v)² − 1)/v, exactly 2 + v
second_difference    ((1 + v)² + (1 − v)² − 2)/v², exactly 2

The exact values are rational numbers in v, or, for exp and log, decimals of 80 digits. float16, bfloat16 and the
float8 formats compute in float32 and are rounded again by conversion, as PyTorch's own half precision is. For +, −, ·,
÷ and √ that is innocuous (Figueroa 1995: 24 ≥ 2p + 2), bfloat16's subnormal numbers apart, which end where float32's
do. exp and log are PyTorch's in float64 or float32, within about one unit there, and rounded once from it: a result in
these two can be the wrong neighbour for this alone, one in a shorter format only if it lies that close to a tie.
Not every float8 format has an inf: too large is nan in fnuz formats and 448 or, in other versions, nan in e4m3fn.

overflow: the first step with an operation whose result is too large, or infinite as 1/0 and log 0 are. lost: the first
other step whose result is not the exact value rounded once: off by more than half a unit in the last place. ulps: the
error at `x` in such units of the exact value (a format without limits above). Nothing is random. Source: IEEE 754-2019;
Figueroa 1995, When is double rounding innocuous; Higham 2002, Accuracy and Stability of Numerical Algorithms, ch. 1.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "一个函数，八种格式：从 float64 到 float8", "en": "One function, eight formats: from float64 to float8"}
PARAMS = {
    "f": {"zh": "函数", "en": "function"},
    "spacing": {"zh": "自变量怎样走到 x", "en": "how the arguments go to x"},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 900},
    "x": {"zh": "最后一个自变量", "en": "the last argument", "ge": -1e30, "le": 1e30},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "argument": {"zh": "自变量", "en": "argument"},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "value": {"zh": "算得的值", "en": "computed value"},
    "exact": {"zh": "精确值", "en": "exact value"},
    "rel_err": {"zh": "相对误差", "en": "relative error"},
}
METRICS = {
    "exact": {"zh": "精确值", "en": "exact value"},
    "value_float64": {"zh": "float64：结果", "en": "float64: result"},
    "value_float32": {"zh": "float32：结果", "en": "float32: result"},
    "value_bfloat16": {"zh": "bfloat16：结果", "en": "bfloat16: result"},
    "value_float16": {"zh": "float16：结果", "en": "float16: result"},
    "value_e5m2": {"zh": "float8_e5m2：结果", "en": "float8_e5m2: result"},
    "value_e4m3fn": {"zh": "float8_e4m3fn：结果", "en": "float8_e4m3fn: result"},
    "value_e5m2fnuz": {"zh": "float8_e5m2fnuz：结果", "en": "float8_e5m2fnuz: result"},
    "value_e4m3fnuz": {"zh": "float8_e4m3fnuz：结果", "en": "float8_e4m3fnuz: result"},
    "overflow_float64": {"zh": "float64：首次溢出", "en": "float64: first overflow", "unit": "step"},
    "overflow_float32": {"zh": "float32：首次溢出", "en": "float32: first overflow", "unit": "step"},
    "overflow_bfloat16": {"zh": "bfloat16：首次溢出", "en": "bfloat16: first overflow", "unit": "step"},
    "overflow_float16": {"zh": "float16：首次溢出", "en": "float16: first overflow", "unit": "step"},
    "overflow_e5m2": {"zh": "float8_e5m2：首次溢出", "en": "float8_e5m2: first overflow", "unit": "step"},
    "overflow_e4m3fn": {"zh": "float8_e4m3fn：首次溢出", "en": "float8_e4m3fn: first overflow", "unit": "step"},
    "overflow_e5m2fnuz": {"zh": "float8_e5m2fnuz：首次溢出", "en": "float8_e5m2fnuz: first overflow", "unit": "step"},
    "overflow_e4m3fnuz": {"zh": "float8_e4m3fnuz：首次溢出", "en": "float8_e4m3fnuz: first overflow", "unit": "step"},
    "lost_float64": {"zh": "float64：首次丢掉一位", "en": "float64: first lost digit", "unit": "step"},
    "lost_float32": {"zh": "float32：首次丢掉一位", "en": "float32: first lost digit", "unit": "step"},
    "lost_bfloat16": {"zh": "bfloat16：首次丢掉一位", "en": "bfloat16: first lost digit", "unit": "step"},
    "lost_float16": {"zh": "float16：首次丢掉一位", "en": "float16: first lost digit", "unit": "step"},
    "lost_e5m2": {"zh": "float8_e5m2：首次丢掉一位", "en": "float8_e5m2: first lost digit", "unit": "step"},
    "lost_e4m3fn": {"zh": "float8_e4m3fn：首次丢掉一位", "en": "float8_e4m3fn: first lost digit", "unit": "step"},
    "lost_e5m2fnuz": {"zh": "float8_e5m2fnuz：首次丢掉一位", "en": "float8_e5m2fnuz: first lost digit", "unit": "step"},
    "lost_e4m3fnuz": {"zh": "float8_e4m3fnuz：首次丢掉一位", "en": "float8_e4m3fnuz: first lost digit", "unit": "step"},
    "ulps_float64": {"zh": "float64：误差", "en": "float64: error", "unit": "ulp"},
    "ulps_float32": {"zh": "float32：误差", "en": "float32: error", "unit": "ulp"},
    "ulps_bfloat16": {"zh": "bfloat16：误差", "en": "bfloat16: error", "unit": "ulp"},
    "ulps_float16": {"zh": "float16：误差", "en": "float16: error", "unit": "ulp"},
    "ulps_e5m2": {"zh": "float8_e5m2：误差", "en": "float8_e5m2: error", "unit": "ulp"},
    "ulps_e4m3fn": {"zh": "float8_e4m3fn：误差", "en": "float8_e4m3fn: error", "unit": "ulp"},
    "ulps_e5m2fnuz": {"zh": "float8_e5m2fnuz：误差", "en": "float8_e5m2fnuz: error", "unit": "ulp"},
    "ulps_e4m3fnuz": {"zh": "float8_e4m3fnuz：误差", "en": "float8_e4m3fnuz: error", "unit": "ulp"},
    "rel_err_float64": {"zh": "float64：相对误差", "en": "float64: relative error"},
    "rel_err_float32": {"zh": "float32：相对误差", "en": "float32: relative error"},
    "rel_err_bfloat16": {"zh": "bfloat16：相对误差", "en": "bfloat16: relative error"},
    "rel_err_float16": {"zh": "float16：相对误差", "en": "float16: relative error"},
    "rel_err_e5m2": {"zh": "float8_e5m2：相对误差", "en": "float8_e5m2: relative error"},
    "rel_err_e4m3fn": {"zh": "float8_e4m3fn：相对误差", "en": "float8_e4m3fn: relative error"},
    "rel_err_e5m2fnuz": {"zh": "float8_e5m2fnuz：相对误差", "en": "float8_e5m2fnuz: relative error"},
    "rel_err_e4m3fnuz": {"zh": "float8_e4m3fnuz：相对误差", "en": "float8_e4m3fnuz: relative error"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "rel_err", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "dtype", "type": "nominal", "sort": None},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
FORMATS = (  # name, dtype, bits of the significand, exponent of the smallest normal number, largest number
    ("float64", torch.float64, 53, -1022, torch.finfo(torch.float64).max),
    ("float32", torch.float32, 24, -126, torch.finfo(torch.float32).max),
    ("bfloat16", torch.bfloat16, 8, -126, torch.finfo(torch.bfloat16).max),
    ("float16", torch.float16, 11, -14, 65504.0),
    ("e5m2", torch.float8_e5m2, 3, -14, 57344.0),
    ("e4m3fn", torch.float8_e4m3fn, 4, -6, 448.0),
    ("e5m2fnuz", torch.float8_e5m2fnuz, 3, -15, 57344.0),
    ("e4m3fnuz", torch.float8_e4m3fnuz, 4, -7, 240.0),
)
UNDEFINED_AT_0 = ("entropy", "adam_step", "difference_quotient", "second_difference")


@dataclass
class Rung:
    """One format, and what becomes of the function in it."""

    name: str
    dtype: torch.dtype
    p: int
    lowest: int
    largest: float

    def __post_init__(self) -> None:
        self.wide = self.dtype if self.dtype.itemsize >= 4 else torch.float32
        self.too_large = self.largest + math.ldexp(0.5, math.frexp(self.largest)[1] - self.p)  # half a unit more

    def evaluate(self, f: str, arguments: list[float]) -> None:
        self.overflowed = torch.zeros(len(arguments), dtype=torch.bool)
        once = [(self.rounded(Fraction(v)), v) for v in arguments]  # not by way of float32
        stored = torch.tensor([near if math.isfinite(near) else v for near, v in once], dtype=torch.float64)
        self.values: list[float] = self.compute(f, self.keep(stored.to(self.wide))).double().tolist()
        if f == "unscaled":
            self.values = [math.ldexp(w, -math.frexp(v)[1]) for w, v in zip(self.values, arguments, strict=True)]

    def compute(self, f: str, v: Tensor) -> Tensor:
        keep = self.keep
        match f:
            case "unscaled":
                return v
            case "exp":
                return keep(v.exp())
            case "softmax" | "softmax_gradient":
                e = keep(v.exp())
                weight = keep(e / keep(e + 1))
                return weight if f == "softmax" else keep(weight - 1)
            case "log_one_plus_exp":
                return keep(keep(keep(v.exp()) + 1).log())
            case "sigmoid_slope":
                s = keep(1 / keep(1 + keep((-v).exp())))
                return keep(s * keep(1 - s))
            case "entropy":
                return keep(v * keep(v.log()))
            case "mean":
                return keep(keep(keep(1 + v) + 2) / 3)
            case "small_part":
                return keep(keep(1 + v) - 1)
            case "neighbour":
                return keep(keep(v + 1) - v)
            case "adam_step":
                return keep(v / keep(32 * keep(keep(v * v / 1024).sqrt())))
        up, down = (keep(keep(1 + h) ** 2) for h in (v, -v))
        if f == "difference_quotient":
            return keep(keep(up - 1) / v)
        return keep(keep(keep(up + down) - 2) / keep(v * v))

    def keep(self, wide: Tensor) -> Tensor:
        """Rounded to the format; notes an overflow, whatever the format makes of it."""
        kept = wide.to(self.dtype).to(self.wide)
        self.overflowed |= wide.isinf() | (wide.abs() > self.too_large) | (wide.isfinite() & ~kept.isfinite())
        return kept

    def rounded(self, exact: Fraction) -> float:
        """The exact value rounded once, to nearest, ties to even; too large is inf."""
        stored = round(exact / self.ulp(exact)) * self.ulp(exact)
        return math.inf * (1 if stored > 0 else -1) if abs(stored) > Fraction(self.largest) else float(stored)

    def ulp(self, exact: Fraction) -> Fraction:
        size = abs(exact)
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= size < (Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent))
        unit = max(exponent, self.lowest) - self.p + 1
        return Fraction(1 << unit) if unit >= 0 else Fraction(1, 1 << -unit)


def run(
    f: Literal[
        "exp", "softmax", "softmax_gradient", "log_one_plus_exp", "sigmoid_slope", "entropy", "mean", "small_part",
        "neighbour", "adam_step", "unscaled", "difference_quotient", "second_difference",
    ] = "exp",
    spacing: Literal["even", "halving", "doubling"] = "even",
    n: int = 100,
    x: float = 100.0,
) -> Generator[Row, None, Metrics]:  # fmt: skip
    factors = {
        "even": lambda k: Fraction(k, n),
        "halving": lambda k: Fraction(1 << (n - k)),
        "doubling": lambda k: Fraction(1, 1 << (n - k)),
    }
    arguments = [float(Fraction(x) * factors[spacing](k)) for k in range(1, n + 1)]
    exact = [exactly(f, v) for v in arguments]
    rungs = [Rung(*form) for form in FORMATS]
    first: dict[str, tuple[int | None, int | None]] = {}
    for rung in rungs:
        rung.evaluate(f, arguments)
        results = [*enumerate(zip(rung.overflowed.tolist(), rung.values, exact, strict=True), 1)]
        overflow = (step for step, (over, _, _) in results if over)
        lost = (step for step, (over, w, e) in results if not over and e is not None and w != rung.rounded(e))
        first[rung.name] = next(overflow, None), next(lost, None)
    every = math.ceil(n / 60)
    for step, (v, true) in enumerate(zip(arguments, exact, strict=True), 1):
        for rung in rungs:
            if step % every == 0 or step in (1, n, *first[rung.name]):
                value = rung.values[step - 1]
                row: Row = {"step": step, "argument": v, "dtype": rung.name, "value": value, "rel_err": math.nan}
                yield row if true is None else row | {"exact": as_float(true), "rel_err": error(value, true, abs(true))}
    metrics: Metrics = {"exact": None if true is None else as_float(true)}
    for rung in rungs:
        value = rung.values[-1]
        metrics |= {
            f"value_{rung.name}": value,
            f"overflow_{rung.name}": first[rung.name][0],
            f"lost_{rung.name}": first[rung.name][1],
            f"ulps_{rung.name}": None if true is None else error(value, true, rung.ulp(true)),
            f"rel_err_{rung.name}": None if true is None else error(value, true, abs(true)),
        }
    return metrics


def exactly(f: str, argument: float) -> Fraction | None:
    """The function in real arithmetic; None where it has no value."""
    v = Fraction(argument)
    if (v == 0 and f in UNDEFINED_AT_0) or (v < 0 and f == "entropy"):
        return None
    rational = {
        "mean": (v + 3) / 3,
        "small_part": v,
        "neighbour": Fraction(1),
        "adam_step": Fraction(1 if v > 0 else -1),
        "unscaled": Fraction(math.frexp(argument)[0]),
        "difference_quotient": v + 2,
        "second_difference": Fraction(2),
    }
    if f in rational:
        return rational[f]
    with localcontext(prec=80):
        return Fraction(transcendental(f, Decimal(argument)))


def transcendental(f: str, v: Decimal) -> Decimal:
    """From t = e^−|v|, so that nothing cancels. Both e^2000 and e^−2000 are beyond every format, whatever follows."""
    if f == "entropy":
        return v * v.ln()
    t = (-min(abs(v), Decimal(2000))).exp()
    large, small = 1 / (1 + t), t / (1 + t)  # softmax of |v| and of −|v|
    if f == "exp":
        return t if v < 0 else 1 / t
    if f == "softmax":
        return small if v < 0 else large
    if f == "softmax_gradient":
        return -large if v < 0 else -small
    if f == "sigmoid_slope":
        return small * large
    return max(v, Decimal(0)) + ((1 + t).ln() if t > Decimal("1e-30") else t - t * t / 2)


def error(value: float, exact: Fraction, unit: Fraction) -> float:
    """|value − exact| in the given unit."""
    if not math.isfinite(value):
        return abs(value)
    difference = abs(Fraction(value) - exact)
    return as_float(difference / unit) if unit else math.inf if difference else 0.0


def as_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
