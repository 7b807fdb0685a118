"""The same computation, step by step, in eight number formats from float64 down to float8, against exact arithmetic.

`op`: multiply (v ← v·x), divide (v ← v/x), update (v ← v + x) and descend (v ← v − x·v), each from `start`; add
(v ← v + x from 0), square_root_iteration (v ← (v + x/v)/2 from 1, towards √x), exp_sum (t ← t·x/k, v ← v + t from
t = v = 1, towards e^x). Every operation is rounded to the format, x and `start` first; k is an integer apart. The exact
values are rational numbers in x and `start` as float64 has them, without any rounding; only the square root iteration,
whose exact iterates double their digits, keeps 400 bits of each.

The float8 formats have no arithmetic of their own: each operation runs in float32 and is rounded again by
conversion. That second rounding is innocuous: for +, −, ·, ÷ and √ rounding first to P bits and then to p gives the
correctly rounded result if P ≥ 2p + 2 (Figueroa 1995), here 24 ≥ 2·4 + 2; float16 and bfloat16 go the same way, as
PyTorch's own do, for 24 ≥ 2·11 + 2. Not all of them have an inf: what is too large becomes nan in the fnuz
formats, and the largest number, 448, in e4m3fn as this version of PyTorch converts (others give nan); `value` shows it.

overflow: the first step whose result is too large. lost: the first step whose result is not the exact value rounded
once, i.e. the error has grown beyond half a unit in the last place. ulps: the error after n steps in units in the last
place of the exact value (a format without limits above). Nothing is random.
Source: IEEE 754-2019; Figueroa 1995, When is double rounding innocuous; Micikevicius et al. 2022, FP8 formats.
"""

import itertools
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "数据类型的阶梯：从 float64 到 float8", "en": "A ladder of dtypes: from float64 to float8"}
PARAMS = {
    "op": {"zh": "运算", "en": "operation"},
    "n": {"zh": "步数", "en": "steps", "ge": 1, "le": 2000},
    "x": {"zh": "数值", "en": "the number", "ge": -1e300, "le": 1e300},
    "start": {"zh": "初值", "en": "start", "ge": -1e300, "le": 1e300},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
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


@dataclass
class Rung:
    """One format and how far the computation has come in it."""

    name: str
    dtype: torch.dtype
    p: int
    lowest: int
    largest: float
    step: int = 1
    overflow: int | None = None
    lost: int | None = None

    def __post_init__(self) -> None:
        self.wide = self.dtype if self.dtype.itemsize >= 4 else torch.float32
        self.v = self.t = torch.ones((), dtype=self.wide)
        self.too_large = self.largest + math.ldexp(0.5, math.frexp(self.largest)[1] - self.p)  # half a unit more

    def keep(self, wide: Tensor) -> Tensor:
        """Rounded to the format; notes an overflow, whatever the format makes of it."""
        kept = wide.to(self.dtype).to(self.wide)
        left = wide.isfinite() and not kept.isfinite()
        if self.overflow is None and (wide.isinf() or wide.abs() > self.too_large or left):
            self.overflow = self.step
        return kept

    def number(self, value: float) -> Tensor:
        """A number of float64 in the format, rounded once: not to float32 first."""
        stored = self.rounded(Fraction(value))
        return self.keep(torch.tensor(stored if math.isfinite(stored) else value, dtype=torch.float64).to(self.wide))

    def advance(self, op: str, x: Tensor, step: int) -> None:
        self.step, keep = step, self.keep
        if op == "multiply":
            self.v = keep(self.v * x)
        elif op == "divide":
            self.v = keep(self.v / x)
        elif op in ("add", "update"):
            self.v = keep(self.v + x)
        elif op == "descend":
            self.v = keep(self.v - keep(x * self.v))
        elif op == "square_root_iteration":
            self.v = keep(keep(self.v + keep(x / self.v)) / 2)
        else:
            self.t = keep(keep(self.t * x) / step)
            self.v = keep(self.v + self.t)

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
    op: Literal["multiply", "add", "divide", "square_root_iteration", "exp_sum", "update", "descend"] = "multiply",
    n: int = 100,
    x: float = 1.5,
    start: float = 1.0,
) -> Generator[Row, None, Metrics]:
    rungs = [Rung(*form) for form in FORMATS]
    factors = [rung.number(x) for rung in rungs]
    start = {"add": 0.0, "square_root_iteration": 1.0, "exp_sum": 1.0}.get(op, start)
    for rung in rungs:
        rung.v = rung.number(start)
    every = math.ceil(n / 60)
    exact: Fraction | None = None
    for step, exact in zip(range(1, n + 1), exactly(op, x, start), strict=False):
        for rung, factor in zip(rungs, factors, strict=True):
            rung.advance(op, factor, step)
            value = rung.v.item()
            if exact is not None and rung.lost is None and rung.overflow is None and value != rung.rounded(exact):
                rung.lost = step
            if step % every == 0 or step in (1, n, rung.lost, rung.overflow):
                row: Row = {"step": step, "dtype": rung.name, "value": value, "rel_err": math.nan}
                if exact is not None:
                    row |= {"exact": as_float(exact), "rel_err": error(value, exact, abs(exact))}
                yield row
    metrics: Metrics = {"exact": None if exact is None else as_float(exact)}
    for rung in rungs:
        value = rung.v.item()
        metrics |= {
            f"value_{rung.name}": value,
            f"overflow_{rung.name}": rung.overflow,
            f"lost_{rung.name}": rung.lost,
            f"ulps_{rung.name}": None if exact is None else error(value, exact, rung.ulp(exact)),
            f"rel_err_{rung.name}": None if exact is None else error(value, exact, abs(exact)),
        }
    return metrics


def exactly(op: str, x: float, start: float) -> Iterator[Fraction | None]:
    """The exact value after each step, None where there is none. Numerators and denominators are never reduced."""
    a, b = x.as_integer_ratio()
    if (op == "divide" and x == 0) or (op == "square_root_iteration" and x < 0):
        yield from itertools.repeat(None)
    (first, unit), term = start.as_integer_ratio(), 1
    top, bottom = first, unit
    for k in itertools.count(1):
        if op == "multiply":
            top, bottom = top * a, bottom * b
        elif op == "divide":
            top, bottom = top * b, bottom * a
        elif op in ("add", "update"):
            top, bottom = first * b + k * a * unit, unit * b
        elif op == "descend":
            top, bottom = top * (b - a), bottom * b
        elif op == "square_root_iteration":
            top, bottom = top * top * b + a * bottom * bottom, 2 * top * bottom * b
            short = leading(top, bottom, 400)
            top, bottom = short.numerator, short.denominator
        else:
            term *= a
            top, bottom = top * k * b + term, bottom * k * b
        value = leading(top, bottom, 130)
        size = top.bit_length() - bottom.bit_length()
        if abs(size) > 4000 or bottom.bit_length() > 400000:  # out of every format's reach for good, or |x| < 1e-30
            yield from itertools.repeat(value)
        yield value


def leading(top: int, bottom: int, bits: int) -> Fraction:
    """top/bottom to so many bits, and one more bit that says whether something was cut off: it rounds like the whole.

    Beyond 2^±4000, where no format reaches, the exponent is not kept.
    """
    sign, top, bottom = (-1 if (top < 0) != (bottom < 0) else 1), abs(top), abs(bottom)
    shift = bits - top.bit_length() + bottom.bit_length()
    whole, rest = divmod(top << max(shift, 0), bottom << max(-shift, 0))
    kept = sign * (2 * whole + (rest != 0))
    shift = min(max(shift + 1, -4000), 4000)
    return Fraction(kept, 1 << shift) if shift >= 0 else Fraction(kept << -shift)


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
