"""A formula of your own in eight formats: its value, where it breaks, its gradient, and forms that do better.

`expression` and each line of `alternatives` is an S-expression, (log (add 1 (exp x))); `values` gives each variable a
number, x=100 y=1/3, or a range, x=-1000..1000. Every number is first stored in the format, then every operation is
torch's own in it; the float8 formats compute in float32 and are rounded by conversion, as a user must.

Beside it the exact value, without rounding: rational numbers as long as a result is rational, else interval arithmetic
on mpmath's numbers, whose ends enclose the value; the precision is raised until both ends agree to 70 bits, and each
enclosure is compared with a second one of higher precision. No value (None) where 5000 bits are not enough.

Rows. node: each step of the calculation in each format, its error in units in the last place (ulp) of the exact value
and what became of it: exact; rounded; overflow; underflow; cancelled, a quarter of the digits lost or more; nan. `how`
names the step's own doing: overflow, underflow, pole (1/0), domain (log −1), cancellation, absorbed (an addend that
changed nothing), amplification (of errors in its arguments). `first` is the step that the error comes from: the last
one on the way from the result down to steps that are still right. gradient: autograd against the exact derivative, of a
vector the gradient of its sum; not in float8, which has no autograd. map: bits lost at points of the range, spaced as
on a symmetric logarithmic axis and rounded to the format, so that what a format cannot store is not counted. region:
where in the range a form is inf or nan, or loses half its bits or more (two at least), to the last number; searched at
5000 points, at the ends of the range, and where a divisor or the argument of a logarithm or root changes its sign.
form: bits lost by each form on average and at most. wins: where an alternative loses a bit less, or more than one.

`how` of a region: overflow where the result itself is too large, domain where it is undefined or infinite, else empty.
`place` and `lost` are those of the chart: of the map of the formula itself, without ranges of its steps.
break: an input that breaks the formula in a format, each variable in a row: best one whose result the format has,
else one that loses digits, else one whose result is too large, else one outside the domain. Without ranges the steps
are at the given values; with one, at the input that breaks `dtype`, or else another format. Nothing is random.
mpmath, which torch depends on, is needed besides torch. Source: Goldberg 1991; Higham 2002, Accuracy and Stability of
Numerical Algorithms; Panchekha et al. 2015 (PLDI), Automatically improving accuracy; Muller et al. 2018, Handbook of
Floating-Point Arithmetic, ch. 2.3 (ulp).
"""

import math
import re
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any, Literal, NamedTuple

import torch
from mpmath import libmp
from torch import Tensor
from torch.nn import functional

TITLE = {"zh": "你的公式，八种格式", "en": "Your formula in eight formats"}
PARAMS = {
    "expression": {"zh": "公式", "en": "formula", "grammar": "formula", "le": 10000},
    "alternatives": {"zh": "其他写法", "en": "other forms", "grammar": "formulas", "le": 20000},
    "values": {"zh": "变量的值或范围", "en": "values or ranges of the variables", "grammar": "values", "le": 2000},
    "gradient": {"zh": "也算梯度", "en": "the gradient too"},
    "dtype": {"zh": "在哪种格式里找坏掉的输入", "en": "format whose breaking input is shown"},
}
COLUMNS = {
    "place": {"zh": "x，或第几步", "en": "x, or the step"},
    "lost": {"zh": "丢掉的位数", "en": "bits lost", "unit": "bit"},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "kind": {"zh": "这一行是什么", "en": "kind of row"},
    "form": {"zh": "第几种写法", "en": "form"},
    "node": {"zh": "第几步", "en": "step"},
    "operation": {"zh": "运算", "en": "operation"},
    "inputs": {"zh": "用到的步", "en": "steps it takes"},
    "value": {"zh": "算得的值", "en": "computed value"},
    "exact": {"zh": "精确值", "en": "exact value"},
    "ulps": {"zh": "误差", "en": "error", "unit": "ulp"},
    "status": {"zh": "结果", "en": "status"},
    "how": {"zh": "怎么错的", "en": "how it goes wrong"},
    "first": {"zh": "错从这里来", "en": "where the error comes from"},
    "bits": {"zh": "丢掉的位数", "en": "bits lost", "unit": "bit"},
    "low": {"zh": "从", "en": "from"},
    "high": {"zh": "到", "en": "to"},
    "worst": {"zh": "最多丢掉的位数", "en": "most bits lost", "unit": "bit"},
}
METRICS = {
    "exact": {"zh": "精确值", "en": "exact value"},
    "value_float64": {"zh": "float64：结果", "en": "float64: result"},
    "value_float32": {"zh": "float32：结果", "en": "float32: result"},
    "value_bfloat16": {"zh": "bfloat16：结果", "en": "bfloat16: result"},
    "value_float16": {"zh": "float16：结果", "en": "float16: result"},
    "value_float8_e5m2": {"zh": "float8_e5m2：结果", "en": "float8_e5m2: result"},
    "value_float8_e4m3fn": {"zh": "float8_e4m3fn：结果", "en": "float8_e4m3fn: result"},
    "value_float8_e5m2fnuz": {"zh": "float8_e5m2fnuz：结果", "en": "float8_e5m2fnuz: result"},
    "value_float8_e4m3fnuz": {"zh": "float8_e4m3fnuz：结果", "en": "float8_e4m3fnuz: result"},
    "ulps_float64": {"zh": "float64：误差", "en": "float64: error", "unit": "ulp"},
    "ulps_float32": {"zh": "float32：误差", "en": "float32: error", "unit": "ulp"},
    "ulps_bfloat16": {"zh": "bfloat16：误差", "en": "bfloat16: error", "unit": "ulp"},
    "ulps_float16": {"zh": "float16：误差", "en": "float16: error", "unit": "ulp"},
    "ulps_float8_e5m2": {"zh": "float8_e5m2：误差", "en": "float8_e5m2: error", "unit": "ulp"},
    "ulps_float8_e4m3fn": {"zh": "float8_e4m3fn：误差", "en": "float8_e4m3fn: error", "unit": "ulp"},
    "ulps_float8_e5m2fnuz": {"zh": "float8_e5m2fnuz：误差", "en": "float8_e5m2fnuz: error", "unit": "ulp"},
    "ulps_float8_e4m3fnuz": {"zh": "float8_e4m3fnuz：误差", "en": "float8_e4m3fnuz: error", "unit": "ulp"},
    "gradient_exact": {"zh": "精确导数", "en": "exact derivative"},
    "gradient_float64": {"zh": "float64：自动求导的结果", "en": "float64: gradient by autograd"},
    "gradient_float32": {"zh": "float32：自动求导的结果", "en": "float32: gradient by autograd"},
    "gradient_bfloat16": {"zh": "bfloat16：自动求导的结果", "en": "bfloat16: gradient by autograd"},
    "gradient_float16": {"zh": "float16：自动求导的结果", "en": "float16: gradient by autograd"},
    "breaks_at_float64": {"zh": "float64：从哪里坏掉", "en": "float64: breaks at"},
    "breaks_at_float32": {"zh": "float32：从哪里坏掉", "en": "float32: breaks at"},
    "breaks_at_bfloat16": {"zh": "bfloat16：从哪里坏掉", "en": "bfloat16: breaks at"},
    "breaks_at_float16": {"zh": "float16：从哪里坏掉", "en": "float16: breaks at"},
    "breaks_at_float8_e5m2": {"zh": "float8_e5m2：从哪里坏掉", "en": "float8_e5m2: breaks at"},
    "breaks_at_float8_e4m3fn": {"zh": "float8_e4m3fn：从哪里坏掉", "en": "float8_e4m3fn: breaks at"},
    "breaks_at_float8_e5m2fnuz": {"zh": "float8_e5m2fnuz：从哪里坏掉", "en": "float8_e5m2fnuz: breaks at"},
    "breaks_at_float8_e4m3fnuz": {"zh": "float8_e4m3fnuz：从哪里坏掉", "en": "float8_e4m3fnuz: breaks at"},
}
WORDS = {
    "overflow": {"zh": "溢出", "en": "overflow"},
    "underflow": {"zh": "下溢", "en": "underflow"},
    "rounded": {"zh": "有舍入", "en": "rounded"},
    "cancelled": {"zh": "丢了位数", "en": "digits lost"},
    "cancellation": {"zh": "抵消", "en": "cancellation"},
    "absorbed": {"zh": "加数被吞掉", "en": "an addend absorbed"},
    "amplification": {"zh": "放大了误差", "en": "errors amplified"},
    "pole": {"zh": "极点", "en": "pole"},
    "domain": {"zh": "定义域之外", "en": "outside the domain"},
}
CHART = {
    "transform": [{"filter": {"field": "dtype", "valid": True}}],  # other rows have no place
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "place", "type": "quantitative", "scale": {"type": "symlog"}},
        "y": {"field": "lost", "type": "quantitative"},
        "color": {"field": "dtype", "type": "nominal", "sort": None},
    },
}

Cell = float | int | str | None
Row = dict[str, Cell]
Metrics = dict[str, float | None]
Mpf = tuple[int, int, int, int]  # mpmath's raw number: sign, mantissa, exponent, bits of the mantissa
Interval = tuple[Mpf, Mpf]
Real = Fraction | Interval | float
"""An exact value: a rational number, the ends that enclose an irrational one, or inf, -inf, nan (undefined)."""
Values = list[Real | None]
"""The elements of a step's exact value, one for a number; None where it is not known."""

FLOOR, CEILING = "f", "c"
PRECISIONS = (128, 512, 2048, 5000)
AGREEING_BITS = 70
MAX_GAMMA_BITS = 1200  # beyond, a gamma function takes seconds
TINY, HUGE = -1300, 20000  # exponents of two that are out of every format's reach, also of a product of two numbers
EXACT_WORK, MAP_POINT_WORK = 60_000, 1_500  # of exact values at one point: operations, weighted with the precision
MAP_WORK, MAP_POINTS = 4_000, 96
MAX_COSTLY = 60  # evaluations at thousands of bits, after which the map does without
SMALL_WORK = 200  # up to which the edges of regions of lost digits are searched
SEARCH_POINTS = 5000
MAX_NODE_ROWS, MAX_REGIONS = 3200, 6
BREAKS = "", "lost", "overflow", "domain"
"""Why an input breaks a formula, the most telling first: on the way to a value that the format has, by lost digits,
with a result that is too large, outside the domain or at a pole."""
SECTIONS = 16  # of an interval in one step of the search for an edge
FORMATS = (  # dtype, bits of the significand, exponent of the smallest normal number, largest number
    ("float64", 53, -1022, torch.finfo(torch.float64).max),
    ("float32", 24, -126, torch.finfo(torch.float32).max),
    ("bfloat16", 8, -126, torch.finfo(torch.bfloat16).max),
    ("float16", 11, -14, 65504.0),
    ("float8_e5m2", 3, -14, 57344.0),
    ("float8_e4m3fn", 4, -6, 448.0),
    ("float8_e5m2fnuz", 3, -15, 57344.0),
    ("float8_e4m3fnuz", 4, -7, 240.0),
)
SEVERITY = ("exact", "rounded", "underflow", "cancelled", "overflow", "nan")
WRONG = SEVERITY[2:]


# --- formats ---


@dataclass(frozen=True)
class Form:
    """One format."""

    name: str
    p: int
    lowest: int
    largest: float

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.name)
        return dtype

    @property
    def is_float8(self) -> bool:
        return bool(self.dtype.itemsize == 1)

    @property
    def too_large(self) -> float:
        """The largest number and half a unit more; float64's own largest number, beyond which there is only inf."""
        return self.largest + math.ldexp(0.5, math.frexp(self.largest)[1] - self.p)

    def ulp(self, near: float) -> float:
        """The unit in the last place at a number, as if the format had no largest one."""
        exponent = math.frexp(near)[1] - 1 if near else self.lowest
        return math.ldexp(1.0, max(exponent, self.lowest) - self.p + 1)

    def stored(self, exact: Real) -> float:
        """An exact number rounded once, to nearest, ties to even; what torch makes of one that is too large."""
        if not isinstance(exact, Fraction):
            return self.cast(exact if isinstance(exact, float) else pair(exact)[0])
        near = as_float(exact)
        if near == 0 or math.isinf(near):
            return self.cast(near)
        unit = Fraction(2) ** (max(binade(exact), self.lowest) - self.p + 1)
        return self.cast(as_float(round(exact / unit) * unit))

    def cast(self, number: float) -> float:
        return float(torch.tensor(number, dtype=torch.float64).to(self.dtype).double())


FORMS = tuple(Form(*row) for row in FORMATS)


def binade(exact: Fraction) -> int:
    """The exponent of two of |exact| > 0."""
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    return exponent - (size < (Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)))


def as_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


# --- the program: the steps of all formulas, each once ---


class Step(NamedTuple):
    """A number, a variable, or an operation on earlier steps."""

    op: str
    args: tuple[int, ...] = ()
    number: Fraction | float | None = None
    width: int = 1
    """The number of elements; 1 for a number."""


COMPARISONS = {"lt", "le", "gt", "ge", "eq"}
REDUCTIONS = {"sum", "mean", "prod", "var", "std", "norm", "logsumexp", "amax", "amin", "dot", "item"}
NONFINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass
class Program:
    """Steps in an order in which they can be computed. Equal steps are one."""

    steps: list[Step] = field(default_factory=list)
    known: dict[tuple[str, tuple[int, ...], str], int] = field(default_factory=dict)
    orders: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    works: dict[tuple[int, ...], float] = field(default_factory=dict)
    costly: int = 0
    """How many exact evaluations took more than a few hundred bits."""

    def add(self, op: str, *args: int, number: Fraction | float | None = None) -> int:
        key = (op, args, str(number))
        if key not in self.known:
            width = sum(self.steps[arg].width for arg in args) if op == "vector" else 1
            if op not in REDUCTIONS and op != "vector":
                width = max((self.steps[arg].width for arg in args), default=1)
            self.known[key] = len(self.steps)
            self.steps.append(Step(op, args, number, width))
        return self.known[key]

    def number(self, value: Fraction | float) -> int:
        is_nonfinite = isinstance(value, float) and not math.isfinite(value)
        return self.add("number", number=value if is_nonfinite else Fraction(value))

    def read(self, text: str) -> int:
        """The last step of an S-expression. Raises ValueError."""
        stack: list[list[Any]] = [[]]
        for word in re.findall(r"[()]|[^\s()]+", text):
            if word == "(":
                stack.append([])
            elif word == ")":
                op, *args = stack.pop()
                stack[-1].append(self.add(op, *args))
            elif stack[-1] or len(stack) == 1:
                stack[-1].append(self.atom(word))
            else:
                stack[-1].append(word)
        if len(stack) != 1 or len(stack[0]) != 1:
            raise ValueError("not an S-expression")
        root: int = stack[0][0]
        return root

    def atom(self, word: str) -> int:
        if word in NONFINITE:
            return self.number(NONFINITE[word])
        if word in ("pi", "e"):
            return self.add(word)
        if word[0].isdigit() or word[0] in "+-.":
            return self.number(Fraction(word))
        return self.add(f"${word}")

    def order(self, *roots: int) -> list[int]:
        """The steps that these need, themselves included."""
        if roots not in self.orders:
            needed, pending = set[int](), list(roots)
            while pending:
                if (step := pending.pop()) not in needed:
                    needed.add(step)
                    pending += self.steps[step].args
            self.orders[roots] = sorted(needed)
        return self.orders[roots]

    def work(self, roots: Sequence[int]) -> float:
        """What exact values of these cost at the first precision, in additions."""
        if (key := tuple(roots)) not in self.works:
            steps = [self.steps[number] for number in self.order(*roots)]
            widths = (max((self.steps[arg].width for arg in step.args), default=1) for step in steps)
            self.works[key] = sum(WEIGHTS.get(step.op, 4) * width for step, width in zip(steps, widths, strict=True))
        return self.works[key]

    def label(self, number: int) -> str:
        """What a step is called in the rows."""
        step = self.steps[number]
        return step.op[1:] if step.op.startswith("$") else str(step.number) if step.op == "number" else step.op

    def variables(self, *roots: int) -> list[str]:
        return [self.steps[step].op[1:] for step in self.order(*roots) if self.steps[step].op.startswith("$")]


# --- exact values ---


class UndecidedError(Exception):
    """The ends of an interval lie on different sides of a place where the function changes."""


def is_special(number: Mpf) -> bool:
    return bool(not number[1] and number != libmp.fzero)


def magnitude(number: Mpf) -> int:
    """The exponent of two above |number|; far below TINY for 0, far above HUGE for inf."""
    if number[1]:
        return number[2] + number[3]
    return 10**9 if is_special(number) else -(10**9)


def is_narrow(value: Real | None) -> bool:
    """Whether both ends agree, as far as any format can tell."""
    if value is None or not isinstance(value, tuple):
        return value is not None
    low, high = value
    if low == high:
        return True
    sizes = magnitude(low), magnitude(high)
    if max(sizes) < TINY:
        return True
    if libmp.mpf_sign(low) != libmp.mpf_sign(high):
        return False
    if min(sizes) > HUGE:
        return True
    return bool(magnitude(libmp.mpf_sub(high, low, 30, CEILING)) <= min(sizes) - AGREEING_BITS)


def enclosure(value: Real, prec: int) -> Interval:
    if isinstance(value, tuple):
        return value
    assert isinstance(value, Fraction)
    ratio = value.numerator, value.denominator
    return libmp.from_rational(*ratio, prec, FLOOR), libmp.from_rational(*ratio, prec, CEILING)


def pair(value: Real) -> tuple[float, float]:
    """The nearest float64 and what remains."""
    if isinstance(value, float):
        return value, 0.0
    if isinstance(value, Fraction):
        near = as_float(value)
        return near, as_float(value - Fraction(near)) if math.isfinite(near) else 0.0
    low, high = value
    if is_special(low) or is_special(high):
        return libmp.to_float(high if is_special(low) else low), 0.0
    middle = libmp.mpf_shift(libmp.mpf_add(low, high, 400, FLOOR), -1)
    near = float(libmp.to_float(middle, rnd="n"))
    rest = libmp.mpf_sub(middle, libmp.from_float(near), 60, FLOOR) if math.isfinite(near) else libmp.fzero
    return near, float(libmp.to_float(rest, rnd="n"))


def sign_of(x: Interval) -> int:
    low, high = libmp.mpf_sign(x[0]), libmp.mpf_sign(x[1])
    if low != high:
        raise UndecidedError
    return int(low)


def one(prec: int) -> Interval:  # noqa: ARG001  # as all functions of intervals
    return libmp.fone, libmp.fone


def widened(x: Interval, prec: int) -> Interval:
    """For a function of mpmath's that is accurate to a few units only."""
    low, high = (libmp.mpf_shift(libmp.mpf_abs(end), 8 - prec) for end in x)
    return libmp.mpf_sub(x[0], low, prec, FLOOR), libmp.mpf_add(x[1], high, prec, CEILING)


def increasing(f: Callable[..., Mpf]) -> Callable[[int, Interval], Interval]:
    return lambda prec, x: widened((f(x[0], prec, FLOOR), f(x[1], prec, CEILING)), prec)


def constant(f: Callable[..., Mpf]) -> Callable[[int], Interval]:
    return lambda prec: (f(prec, FLOOR), f(prec, CEILING))


PI, E, LN2, LN10 = (constant(f) for f in (libmp.mpf_pi, libmp.mpf_e, libmp.mpf_ln2, libmp.mpf_ln10))


def i_add(prec: int, x: Interval, y: Interval) -> Interval:
    return libmp.mpi_add(x, y, prec)  # type: ignore[no-any-return]


def i_sub(prec: int, x: Interval, y: Interval) -> Interval:
    return libmp.mpi_sub(x, y, prec)  # type: ignore[no-any-return]


def i_mul(prec: int, x: Interval, y: Interval) -> Interval:
    return libmp.mpi_mul(x, y, prec)  # type: ignore[no-any-return]


def i_div(prec: int, x: Interval, y: Interval) -> Interval:
    if sign_of(y) == 0:
        raise UndecidedError
    return libmp.mpi_div(x, y, prec)  # type: ignore[no-any-return]


def i_half(x: Interval) -> Interval:
    return libmp.mpf_shift(x[0], -1), libmp.mpf_shift(x[1], -1)


def i_neg(prec: int, x: Interval) -> Interval:
    return libmp.mpi_neg(x, prec)  # type: ignore[no-any-return]


def i_abs(prec: int, x: Interval) -> Interval:
    return libmp.mpi_abs(x, prec)  # type: ignore[no-any-return]


def i_square(prec: int, x: Interval) -> Interval:
    return libmp.mpi_pow_int(x, 2, prec)  # type: ignore[no-any-return]


def i_sqrt(prec: int, x: Interval) -> Real:
    return math.nan if sign_of(x) < 0 else libmp.mpi_sqrt(x, prec)


def i_exp(prec: int, x: Interval) -> Interval:
    if max(map(magnitude, x)) > 400:  # of the result, the exponent alone would have hundreds of bits
        if sign_of(x) > 0:
            return libmp.mpf_shift(libmp.fone, 1 << 64), libmp.finf
        return libmp.fzero, libmp.mpf_shift(libmp.fone, -(1 << 64))
    return widened(libmp.mpi_exp(x, prec), prec)


def small_by(x: Interval) -> int:
    """How many bits the larger end lies below 1."""
    return max(0, -max(map(magnitude, x)))


def i_expm1(prec: int, x: Interval) -> Interval:
    small = small_by(x)
    if small > prec:  # x ≤ e^x − 1 ≤ x + x² for |x| ≤ 1
        return x[0], i_add(prec, x, i_square(prec, x))[1]
    return i_sub(prec, i_exp(prec + small + 10, x), one(prec))


def i_log(prec: int, x: Interval) -> Real:
    sign = sign_of(x)
    return math.nan if sign < 0 else widened(libmp.mpi_log(x, prec), prec)


def i_log1p(prec: int, x: Interval) -> Real:
    small = small_by(x)
    if small > prec:  # x − x² ≤ log(1 + x) ≤ x for |x| ≤ 1/2
        return i_sub(prec, x, i_square(prec, x))[0], x[1]
    return i_log(prec, i_add(prec + small + 10, x, one(prec)))


def known(value: Real) -> Interval:
    """An interval where a function inside another is defined."""
    if not isinstance(value, tuple):
        raise UndecidedError
    return value


def i_sin(prec: int, x: Interval) -> Interval:
    if max(map(magnitude, x)) > MAX_BITS:
        raise UndecidedError
    return widened(libmp.mpi_sin(x, prec), prec)


def i_cos(prec: int, x: Interval) -> Interval:
    if max(map(magnitude, x)) > MAX_BITS:
        raise UndecidedError
    return widened(libmp.mpi_cos(x, prec), prec)


def i_atan(prec: int, x: Interval) -> Interval:
    return widened(libmp.mpi_atan(x, prec), prec)


def i_asin(prec: int, x: Interval) -> Real:
    inside = i_mul(prec, i_sub(prec, one(prec), x), i_add(prec, one(prec), x))
    if sign_of(inside) < 0:
        return math.nan
    return i_atan(prec, i_div(prec, x, known(i_sqrt(prec, inside))))


def i_acos(prec: int, x: Interval) -> Real:
    below, above = i_sub(prec, one(prec), x), i_add(prec, one(prec), x)
    if sign_of(below) < 0 or sign_of(above) < 0:
        return math.nan
    half = i_atan(prec, known(i_sqrt(prec, i_div(prec, below, above))))
    return libmp.mpf_shift(half[0], 1), libmp.mpf_shift(half[1], 1)


def i_sinh(prec: int, x: Interval) -> Interval:
    if libmp.mpf_sign(x[1]) < 0:
        return i_neg(prec, i_sinh(prec, i_neg(prec, x)))
    t = i_expm1(prec, x)
    return i_half(i_add(prec, t, i_div(prec, t, i_add(prec, t, one(prec)))))


def i_cosh(prec: int, x: Interval) -> Interval:
    e = i_exp(prec, i_abs(prec, x))
    return i_half(i_add(prec, e, i_div(prec, one(prec), e)))


def i_tanh(prec: int, x: Interval) -> Interval:
    if libmp.mpf_sign(x[1]) < 0:
        return i_neg(prec, i_tanh(prec, i_neg(prec, x)))
    t = i_expm1(prec, i_neg(prec, (libmp.mpf_shift(x[0], 1), libmp.mpf_shift(x[1], 1))))
    return i_neg(prec, i_div(prec, t, i_add(prec, t, (libmp.ftwo, libmp.ftwo))))


def i_asinh(prec: int, x: Interval) -> Interval:
    if libmp.mpf_sign(x[1]) < 0:
        return i_neg(prec, i_asinh(prec, i_neg(prec, x)))
    square = i_square(prec, x)
    root = known(i_sqrt(prec, i_add(prec, one(prec), square)))
    return known(i_log1p(prec, i_add(prec, x, i_div(prec, square, i_add(prec, one(prec), root)))))


def i_acosh(prec: int, x: Interval) -> Real:
    t = i_sub(prec, x, one(prec))
    if sign_of(t) < 0:
        return math.nan
    root = known(i_sqrt(prec, i_mul(prec, t, i_add(prec, x, one(prec)))))
    return i_log1p(prec, i_add(prec, t, root))


def i_atanh(prec: int, x: Interval) -> Real:
    below, above = i_sub(prec, one(prec), x), i_add(prec, one(prec), x)
    if sign_of(below) < 0 or sign_of(above) < 0:
        return math.nan
    twice = libmp.mpf_shift(x[0], 1), libmp.mpf_shift(x[1], 1)
    return i_half(known(i_log1p(prec, i_div(prec, twice, below))))


def i_sigmoid(prec: int, x: Interval) -> Interval:
    return i_div(prec, one(prec), i_add(prec, one(prec), i_exp(prec, i_neg(prec, x))))


def i_softplus(prec: int, x: Interval) -> Interval:
    return known(i_log1p(prec, i_exp(prec, x)))


def i_erfc(prec: int, x: Interval) -> Interval:
    if max(map(magnitude, x)) > 30:
        tail = libmp.mpf_shift(libmp.fone, -(1 << 58))
        if sign_of(x) > 0:
            return libmp.fzero, tail
        return libmp.mpf_sub(libmp.ftwo, tail, prec, FLOOR), libmp.ftwo
    return widened((libmp.mpf_erfc(x[1], prec, FLOOR), libmp.mpf_erfc(x[0], prec, CEILING)), prec)


def i_erf(prec: int, x: Interval) -> Interval:
    if max(map(magnitude, x)) > 30:
        return i_sub(prec, one(prec), i_erfc(prec, x))
    return increasing(libmp.mpf_erf)(prec, x)


def i_gelu(prec: int, x: Interval) -> Interval:
    root = known(i_sqrt(prec, (libmp.ftwo, libmp.ftwo)))
    return i_half(i_mul(prec, x, i_erfc(prec, i_neg(prec, i_div(prec, x, root)))))


def i_lgamma(prec: int, x: Interval) -> Real:
    """log|Γ(x)|, to the left of 0 by reflection."""
    if prec > MAX_GAMMA_BITS:
        raise UndecidedError
    if sign_of(x) > 0:
        return widened(libmp.mpi_loggamma(x, prec), prec)
    sine = i_sin(prec, i_mul(prec, PI(prec), x))
    sign_of(sine)
    log = known(i_log(prec, i_div(prec, PI(prec), i_abs(prec, sine))))
    return i_sub(prec, log, known(i_lgamma(prec, i_sub(prec, one(prec), x))))


def i_digamma(prec: int, x: Interval) -> Real:
    """To the left of 0 by reflection."""
    if prec > MAX_GAMMA_BITS:
        raise UndecidedError
    if sign_of(x) < 0:
        angle = i_mul(prec, PI(prec), x)
        slope = i_div(prec, i_mul(prec, PI(prec), i_cos(prec, angle)), i_sin(prec, angle))
        return i_sub(prec, known(i_digamma(prec, i_sub(prec, one(prec), x))), slope)
    low, high = (libmp.mpf_psi0(end, prec, FLOOR) for end in x)
    slack = libmp.mpf_shift(libmp.fone, 8 - prec)  # absolute: near its zero mpmath cancels
    return libmp.mpf_sub(low, slack, prec, FLOOR), libmp.mpf_add(high, slack, prec, CEILING)


def i_whole(f: Callable[..., Mpf]) -> Callable[[int, Interval], Real]:
    """floor, ceil and round: the same number at both ends."""

    def whole(prec: int, x: Interval) -> Real:  # noqa: ARG001
        if max(map(magnitude, x)) > HUGE:
            return x
        low, high = f(x[0]), f(x[1])
        if low != high:
            raise UndecidedError
        return Fraction(*libmp.to_rational(low))

    return whole


def i_pow(prec: int, x: Interval, y: Interval) -> Real:
    if sign_of(x) <= 0:
        raise UndecidedError
    return i_exp(prec, i_mul(prec, y, known(i_log(prec, x))))


def i_max(prec: int, x: Interval, y: Interval) -> Interval:  # noqa: ARG001
    return max_mpf(x[0], y[0]), max_mpf(x[1], y[1])


def i_min(prec: int, x: Interval, y: Interval) -> Interval:
    return i_neg(prec, i_max(prec, i_neg(prec, x), i_neg(prec, y)))


def max_mpf(x: Mpf, y: Mpf) -> Mpf:
    return y if libmp.mpf_lt(x, y) else x


def i_logaddexp(prec: int, x: Interval, y: Interval) -> Interval:
    gap = i_neg(prec, i_abs(prec, i_sub(prec, x, y)))
    return i_add(prec, i_max(prec, x, y), i_softplus(prec, gap))


def i_remainder(prec: int, x: Interval, y: Interval) -> Interval:
    times = i_whole(libmp.mpf_floor)(prec, i_div(prec, x, y))
    return i_sub(prec, x, i_mul(prec, enclosure(times, prec), y))


def i_lerp(prec: int, x: Interval, y: Interval, w: Interval) -> Interval:
    return i_add(prec, x, i_mul(prec, w, i_sub(prec, y, x)))


def i_hypot(prec: int, x: Interval, y: Interval) -> Real:
    return i_sqrt(prec, i_add(prec, i_square(prec, x), i_square(prec, y)))


INTERVALS: dict[str, Callable[..., Real]] = {
    "pi": PI, "e": E, "add": i_add, "sub": i_sub, "mul": i_mul, "div": i_div, "neg": i_neg, "abs": i_abs,
    "square": i_square, "sqrt": i_sqrt, "exp": i_exp, "expm1": i_expm1, "log": i_log, "log1p": i_log1p,
    "rsqrt": lambda prec, x: r if isinstance(r := i_sqrt(prec, x), float) else i_div(prec, one(prec), known(r)),
    "exp2": lambda prec, x: i_exp(prec, i_mul(prec + 64, x, LN2(prec + 64))),
    "log2": lambda prec, x: r if isinstance(r := i_log(prec, x), float) else i_div(prec, known(r), LN2(prec)),
    "log10": lambda prec, x: r if isinstance(r := i_log(prec, x), float) else i_div(prec, known(r), LN10(prec)),
    "sin": i_sin, "cos": i_cos, "tan": lambda prec, x: i_div(prec, i_sin(prec, x), i_cos(prec, x)),
    "asin": i_asin, "acos": i_acos, "atan": i_atan,
    "atan2": lambda prec, y, x: widened(libmp.mpi_atan2(y, x, prec), prec),
    "sinh": i_sinh, "cosh": i_cosh, "tanh": i_tanh,
    "asinh": i_asinh, "acosh": i_acosh, "atanh": i_atanh, "sigmoid": i_sigmoid, "softplus": i_softplus,
    "logsigmoid": lambda prec, x: i_neg(prec, i_softplus(prec, i_neg(prec, x))),
    "relu": lambda prec, x: i_max(prec, x, (libmp.fzero, libmp.fzero)), "gelu": i_gelu,
    "silu": lambda prec, x: i_mul(prec, x, i_sigmoid(prec, x)), "erf": i_erf, "erfc": i_erfc,
    "lgamma": i_lgamma, "digamma": i_digamma, "sign": lambda _, x: Fraction(sign_of(x)),
    "factorial": lambda prec, x: i_exp(prec, known(i_lgamma(prec, i_add(prec, x, one(prec))))),
    "floor": i_whole(libmp.mpf_floor), "ceil": i_whole(libmp.mpf_ceil), "round": i_whole(libmp.mpf_nint),
    "max": i_max, "min": i_min, "pow": i_pow, "hypot": i_hypot, "logaddexp": i_logaddexp,
    "xlogy": lambda prec, x, y: r if isinstance(r := i_log(prec, y), float) else i_mul(prec, x, known(r)),
    "remainder": i_remainder, "lerp": i_lerp,
    "addcdiv": lambda prec, x, y, z: i_add(prec, x, i_div(prec, y, z)),
    "lt": lambda prec, x, y: Fraction(sign_of(i_sub(prec, x, y)) < 0),
    "le": lambda prec, x, y: Fraction(sign_of(i_sub(prec, x, y)) <= 0),
    "gt": lambda prec, x, y: Fraction(sign_of(i_sub(prec, x, y)) > 0),
    "ge": lambda prec, x, y: Fraction(sign_of(i_sub(prec, x, y)) >= 0),
    "eq": lambda prec, x, y: Fraction(sign_of(i_sub(prec, x, y)) == 0),
}  # fmt: skip

Rational = Fraction | float | None
"""A rational result, inf, -inf or nan; None if it is irrational, or has too many digits."""
MAX_BITS = 6000
MAX_ROOT = 64  # of roots that are looked for
ZERO, ONE = Fraction(0), Fraction(1)


def q_div(x: Fraction, y: Fraction) -> Rational:
    if y:
        return x / y
    return math.nan if not x else math.inf if x > 0 else -math.inf


def q_sqrt(x: Fraction) -> Rational:
    if x < 0:
        return math.nan
    top, bottom = math.isqrt(x.numerator), math.isqrt(x.denominator)
    return Fraction(top, bottom) if top * top == x.numerator and bottom * bottom == x.denominator else None


def q_rsqrt(x: Fraction) -> Rational:
    root = q_sqrt(x)
    return q_div(ONE, root) if isinstance(root, Fraction) else root


def q_pow(x: Fraction, y: Fraction) -> Rational:
    if y.denominator == 1:
        n = int(y)
        if x == 0:
            return math.inf if n < 0 else Fraction(n == 0)
        size = max(x.numerator.bit_length(), x.denominator.bit_length())
        if abs(x) == 1 or abs(n) * size <= MAX_BITS:
            return x ** (n % 2 if abs(x) == 1 else n)
        return None
    if x <= 0:
        return math.nan if x else ZERO if y > 0 else math.inf
    if x == 1 or y.denominator > MAX_ROOT:
        return ONE if x == 1 else None
    root = Fraction(whole_root(x.numerator, y.denominator), whole_root(x.denominator, y.denominator))
    return q_pow(root, Fraction(y.numerator)) if root**y.denominator == x else None


def whole_root(x: int, n: int) -> int:
    """The integer part of the n-th root of x > 0, by Newton's method from above."""
    root = 1 << -(-x.bit_length() // n)
    while (next_one := ((n - 1) * root + x // root ** (n - 1)) // n) < root:
        root = next_one
    return root


def q_log(base: int | None) -> Callable[[Fraction], Rational]:
    """The logarithm to an integer base, exact for its powers; None is e."""

    def log(x: Fraction) -> Rational:
        if x <= 0:
            return math.nan if x else -math.inf
        if x == 1 or base is None:
            return ZERO if x == 1 else None
        whole = x if x > 1 else 1 / x
        exponent = round(whole.numerator.bit_length() / math.log2(base))
        near = next((k for k in (exponent - 1, exponent, exponent + 1) if k > 0 and Fraction(base) ** k == whole), None)
        return None if near is None else Fraction(near if x > 1 else -near)

    return log


def q_domain(low: float, high: float, values: Mapping[int, Fraction | float]) -> Callable[[Fraction], Rational]:
    """An irrational function that is defined from `low` to `high`, with its rational values and poles."""

    def function(x: Fraction) -> Rational:
        if not low <= x <= high:
            return math.nan
        return values.get(int(x)) if x.denominator == 1 else None

    return function


def q_lgamma(x: Fraction) -> Rational:
    if x.denominator != 1 or x > 2:
        return None
    return ZERO if x > 0 else math.inf


def q_factorial(x: Fraction) -> Rational:
    if x.denominator != 1 or x > 500:
        return None
    return Fraction(math.factorial(int(x))) if x >= 0 else math.inf


def q_xlogy(x: Fraction, y: Fraction) -> Rational:
    if x == 0:
        return ZERO
    log = q_log(None)(y)
    return log if log is None or isinstance(log, Fraction) else log * (1 if x > 0 else -1)


def q_addcdiv(x: Fraction, y: Fraction, z: Fraction) -> Rational:
    ratio = q_div(y, z)
    return x + ratio if isinstance(ratio, Fraction) else ratio


def q_atan2(y: Fraction, x: Fraction) -> Rational:
    return ZERO if y == 0 and x >= 0 else None


AT_0 = {0: ZERO}
EVERYWHERE = -math.inf, math.inf
RATIONALS: dict[str, Callable[..., Rational]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": q_div,
    "neg": lambda x: -x, "square": lambda x: x * x, "abs": abs, "sign": lambda x: Fraction((x > 0) - (x < 0)),
    "relu": lambda x: max(x, ZERO), "max": max, "min": min, "floor": lambda x: Fraction(math.floor(x)),
    "ceil": lambda x: Fraction(math.ceil(x)), "round": lambda x: Fraction(round(x)),
    "remainder": lambda x, y: x % y if y else math.nan, "lerp": lambda x, y, w: x + w * (y - x),
    "addcdiv": q_addcdiv, "lt": lambda x, y: Fraction(x < y), "le": lambda x, y: Fraction(x <= y),
    "gt": lambda x, y: Fraction(x > y), "ge": lambda x, y: Fraction(x >= y), "eq": lambda x, y: Fraction(x == y),
    "sqrt": q_sqrt, "rsqrt": q_rsqrt, "pow": q_pow, "hypot": lambda x, y: q_sqrt(x * x + y * y),
    "log": q_log(None), "log2": q_log(2), "log10": q_log(10), "xlogy": q_xlogy, "atan2": q_atan2,
    "log1p": lambda x: q_log(None)(1 + x), "lgamma": q_lgamma, "factorial": q_factorial,
    "digamma": lambda x: None if x > 0 or x.denominator > 1 else math.nan if x else -math.inf,
    "exp2": lambda x: q_pow(Fraction(2), x) if x.denominator == 1 else None,
    **dict.fromkeys(("sin", "tan", "atan", "sinh", "tanh", "asinh", "expm1", "erf", "gelu", "silu"),
                    q_domain(*EVERYWHERE, AT_0)),
    **dict.fromkeys(("exp", "cos", "cosh", "erfc"), q_domain(*EVERYWHERE, {0: ONE})),
    "sigmoid": q_domain(*EVERYWHERE, {0: Fraction(1, 2)}), "asin": q_domain(-1, 1, AT_0),
    "acos": q_domain(-1, 1, {1: ZERO}), "acosh": q_domain(1, math.inf, {1: ZERO}),
    "atanh": q_domain(-1, 1, {0: ZERO, 1: math.inf, -1: -math.inf}),
}  # fmt: skip
WEIGHTS = {
    "number": 0, "vector": 0, "tan": 10, **dict.fromkeys(("lgamma", "digamma", "factorial", "erf", "erfc", "gelu"), 30),
    **dict.fromkeys(("add", "sub", "mul", "div", "neg", "square", "abs"), 1),
}  # fmt: skip
"""What an operation costs, in additions; of those not here 4."""


@dataclass(frozen=True)
class Arithmetic:
    """Exact operations at one precision, in bits. At the `last` one an interval that is nothing but 0 becomes 0."""

    prec: int
    last: bool = False

    def apply(self, op: str, *args: Real | None) -> Real | None:
        """One operation on numbers; None if the precision does not decide it."""
        given = [arg for arg in args if arg is not None]
        if len(given) < len(args):
            return None
        if any(isinstance(arg, float) for arg in given):
            return self.at_infinity(op, given)
        if all(isinstance(arg, Fraction) for arg in given) and op in RATIONALS:
            exact = RATIONALS[op](*given)
            if isinstance(exact, float) or (isinstance(exact, Fraction) and size(exact) <= MAX_BITS):
                return exact
        try:
            return self.snapped(self.irrational(op, given))
        except UndecidedError:
            return None

    def irrational(self, op: str, args: Sequence[Real]) -> Real:
        if op == "pow" and isinstance(args[1], Fraction) and args[1].denominator == 1 and abs(args[1]) < 1 << 64:
            n, base = int(args[1]), enclosure(args[0], self.prec + 64)
            positive = libmp.mpi_pow_int(base, abs(n), self.prec)
            return i_div(self.prec, one(self.prec), positive) if n < 0 else positive
        if op == "pow" and isinstance(args[0], tuple) and libmp.mpf_sign(args[0][1]) < 0:
            if isinstance(args[1], Fraction):
                return math.nan
            raise UndecidedError
        if op in ("asin", "acos") and args[0] in (1, -1):  # π/2, −π/2, π
            half = i_half(PI(self.prec))
            return PI(self.prec) if op == "acos" else half if args[0] == 1 else i_neg(self.prec, half)
        return INTERVALS[op](self.prec, *(enclosure(arg, self.prec) for arg in args))

    def snapped(self, value: Real) -> Real:
        is_zero = isinstance(value, tuple) and max(map(magnitude, value)) < TINY
        return ZERO if self.last and is_zero else value

    def at_infinity(self, op: str, args: Sequence[Real]) -> Real:
        """IEEE 754's value where an argument is inf or nan; finite arguments matter by their signs only."""
        given = [arg if isinstance(arg, float) else within(pair(arg)[0]) for arg in args]
        if op == "atan" and math.isinf(given[0]):
            return i_half(PI(self.prec)) if given[0] > 0 else i_neg(self.prec, i_half(PI(self.prec)))
        if op == "digamma":
            return given[0]
        result = float(OPERATIONS[op](*(torch.tensor([value], dtype=torch.float64) for value in given)))
        if not math.isfinite(result):
            return result
        return next((arg for arg, value in zip(args, given, strict=True) if value == result), Fraction(result))

    def fold(self, op: str, values: Values) -> Real | None:
        return reduce(lambda x, y: self.apply(op, x, y), values)

    def reduced(self, op: str, x: Values, y: Values) -> Real | None:
        """A vector's number; `y` is the other vector of dot."""
        n, apply = Fraction(len(x)), self.apply
        match op:
            case "sum":
                return self.fold("add", x)
            case "prod":
                return self.fold("mul", x)
            case "amax" | "amin":
                return self.fold(op[1:], x)
            case "mean":
                return apply("div", self.fold("add", x), n)
            case "dot":
                pairs = zip(*self.matched(x, y), strict=True)
                return self.fold("add", [apply("mul", a, b) for a, b in pairs])
            case "norm":
                return apply("sqrt", self.fold("add", [apply("square", a) for a in x]))
            case "var" | "std":
                mean = self.reduced("mean", x, [])
                squares = [apply("square", apply("sub", a, mean)) for a in x]
                variance = apply("div", self.fold("add", squares), n - 1)
                return variance if op == "var" else apply("sqrt", variance)
        assert op == "logsumexp"
        top = self.fold("max", x)
        if isinstance(top, float):
            return top
        return apply("add", top, apply("log", self.fold("add", [apply("exp", apply("sub", a, top)) for a in x])))

    def mapped(self, op: str, x: Values) -> Values:
        """softmax, log_softmax, or for each element the product of the others."""
        if op == "others":
            return [self.fold("mul", [ONE, *x[:k], *x[k + 1 :]]) for k in range(len(x))]
        top = self.fold("max", x)
        powers = [self.apply("exp", self.apply("sub", a, top)) for a in x]
        if op == "softmax":
            total = self.fold("add", powers)
            return [self.apply("div", power, total) for power in powers]
        total = self.apply("log", self.fold("add", powers))
        return [self.apply("sub", self.apply("sub", a, top), total) for a in x]

    @staticmethod
    def matched(*values: Values) -> list[Values]:
        """Single numbers repeated to the length of the vectors."""
        width = max(map(len, values))
        return [value if len(value) == width else value * width for value in values]

    def evaluate(
        self, program: Program, order: Iterable[int], inputs: Mapping[str, Fraction | float]
    ) -> dict[int, Values]:
        """Step → its exact value, for steps in an order that the program gives."""
        found: dict[int, Values] = {}
        for number in order:
            step = program.steps[number]
            args = [found[arg] for arg in step.args]
            found[number] = self.step(step, args, inputs)
        return found

    def step(self, step: Step, args: Sequence[Values], inputs: Mapping[str, Fraction | float]) -> Values:
        op = step.op
        if op == "number":
            return [step.number]
        if op.startswith("$"):
            return [inputs[op[1:]]]
        if op == "vector":
            return [element for arg in args for element in arg]
        if op == "item":
            return [args[0][self.index(args)]]
        if op in ("softmax", "log_softmax", "others"):
            return self.mapped(op, args[0])
        if op in REDUCTIONS:
            return [self.reduced(op, args[0], args[-1])]
        elements = zip(*self.matched(*args), strict=True) if args else [()]
        return [self.chosen(*each) if op == "where" else self.apply(op, *each) for each in elements]

    @staticmethod
    def index(args: Sequence[Values]) -> int:
        place = args[1][0]
        assert isinstance(place, Fraction)
        return int(place)

    @staticmethod
    def chosen(condition: Real | None, yes: Real | None, no: Real | None) -> Real | None:
        return None if condition is None else yes if condition == 1 else no


def size(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def within(number: float) -> float:
    """A finite stand-in of the same sign, 0 only for 0 itself."""
    return min(max(number, -1e300), 1e300)


def exactly(
    program: Program,
    roots: Sequence[int],
    inputs: Mapping[str, Fraction | float],
    *,
    compared: bool = False,
    work: float = EXACT_WORK,
) -> dict[int, Values]:
    """Step → exact value, of the roots and all that they need. Raises ArithmeticError.

    With `compared` it evaluates again with more bits, and an enclosure that does not meet the first is an error.
    """
    order = program.order(*roots)
    if work < EXACT_WORK and program.costly > MAX_COSTLY:
        work = 0
    most = max(PRECISIONS[1], 128 * (work / max(1.0, program.work(roots))) ** (1 / 1.6))
    precisions = [prec for prec in PRECISIONS if prec <= most]
    for prec in precisions:
        found = Arithmetic(prec, last=prec == precisions[-1]).evaluate(program, order, inputs)
        program.costly += prec > PRECISIONS[1]
        if all(is_narrow(value) for root in roots for value in found[root]):
            break
    if compared:
        again = Arithmetic(prec + 96, last=prec == precisions[-1]).evaluate(program, order, inputs)
        for number in order:
            for first, second in zip(found[number], again[number], strict=True):
                if first is not None and second is not None and not meet(first, second, prec + 96):
                    raise ArithmeticError(f"two evaluations of {program.steps[number].op} disagree")
    return {number: [value if is_narrow(value) else None for value in found[number]] for number in order}


def meet(first: Real, second: Real, prec: int) -> bool:
    """Whether two enclosures have a number in common."""
    if isinstance(first, float) or isinstance(second, float):
        return repr(first) == repr(second)
    (a, b), (c, d) = enclosure(first, prec), enclosure(second, prec)
    return bool(libmp.mpf_le(a, d) and libmp.mpf_le(c, b))


# --- torch's values ---


def along(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A reduction of the last dimension, which is kept."""
    return lambda x: f(x, dim=-1, keepdim=True)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Accumulated in float32 at least, as torch.dot does."""
    wide = x if x.dtype.itemsize >= 4 else x.float()
    return (wide * y).sum(dim=-1, keepdim=True).to(x.dtype)


NAMED_AS_TORCH = (
    "add sub mul div neg pow square sqrt rsqrt abs sign exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan "
    "atan2 sinh cosh tanh asinh acosh atanh sigmoid relu erf erfc lgamma floor ceil round hypot logaddexp xlogy "
    "remainder lerp addcdiv where lt le gt ge eq digamma"
)
OPERATIONS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, name) for name in NAMED_AS_TORCH.split()},
    **{name: getattr(functional, name) for name in ("logsigmoid", "softplus", "gelu", "silu")},
    **{name: along(getattr(torch, name)) for name in ("sum", "mean", "prod", "var", "std", "logsumexp")},
    **{name: along(getattr(torch, name)) for name in ("amax", "amin")},
    "max": torch.maximum, "min": torch.minimum, "norm": along(torch.linalg.vector_norm), "dot": dot,
    "factorial": lambda x: torch.exp(torch.lgamma(x + 1)),
    "vector": lambda *xs: torch.cat(torch.broadcast_tensors(*xs), -1),
    "softmax": lambda x: functional.softmax(x, dim=-1), "log_softmax": lambda x: functional.log_softmax(x, dim=-1),
}  # fmt: skip


class Computed(NamedTuple):
    """A step in a format at N inputs: the values, shape (N, width), and where the result was too large to store."""

    value: Tensor
    overflowed: Tensor


@lru_cache(4096)
def literal(op: str, number: Fraction | float | None, form: Form) -> Computed:
    """A constant, stored in the format."""
    exact = number if number is not None else INTERVALS[op](PRECISIONS[0])
    value = torch.tensor([[form.stored(exact)]], dtype=torch.float64).to(form.dtype)
    too_large = math.isfinite(pair(exact)[0]) and abs(pair(exact)[0]) > form.too_large
    return Computed(value.float() if form.is_float8 else value, torch.tensor([[too_large]]))


def compute(program: Program, order: Iterable[int], inputs: Mapping[str, Tensor], form: Form) -> dict[int, Computed]:
    """Step → what torch makes of it; inputs of shape (N, 1) in the format, of a float8 format in float32."""
    found: dict[int, Computed] = {}
    for number in order:
        step = program.steps[number]
        if step.op.startswith("$"):
            value = inputs[step.op[1:]]
            found[number] = Computed(value, torch.zeros_like(value, dtype=torch.bool))
        elif not step.args:
            found[number] = literal(step.op, step.number, form)
        else:
            wide = operate(program, step, [found[arg].value for arg in step.args])
            kept = wide.to(form.dtype).to(wide.dtype) if form.is_float8 and wide.is_floating_point() else wide
            overflowed = (wide.double().abs() > form.too_large) | (wide.isfinite() & ~kept.isfinite())
            found[number] = Computed(kept, overflowed)
    return found


def operate(program: Program, step: Step, args: list[Tensor]) -> Tensor:
    """One operation in the type of its arguments; in float32, then rounded, if torch does not have it in this type."""
    if step.op == "item":
        return args[0][:, int(args[1]) : int(args[1]) + 1]
    exponent = program.steps[step.args[1]].number if step.op == "pow" else None
    if isinstance(exponent, Fraction) and abs(exponent) <= torch.finfo(args[0].dtype).max:  # torch refuses larger ones
        return torch.pow(args[0], as_float(exponent))  # as in x**2, which multiplies
    if step.op in COMPARISONS and args[0].dtype == torch.bool:
        args = [arg.float() for arg in args]
    try:
        return OPERATIONS[step.op](*args)
    except (RuntimeError, NotImplementedError):
        return OPERATIONS[step.op](*(arg.float() if arg.is_floating_point() else arg for arg in args)).to(
            args[-1].dtype
        )


def tensors(inputs: Mapping[str, float], form: Form) -> dict[str, Tensor]:
    """One point as inputs for `compute`."""
    stored = {name: torch.tensor([[value]], dtype=torch.float64).to(form.dtype) for name, value in inputs.items()}
    return {name: value.float() if form.is_float8 else value for name, value in stored.items()}


# --- errors ---


def ulps_off(value: float, exact: Real | None, form: Form) -> float | None:
    """The error in units in the last place of the exact value; None without one, inf or nan for inf or nan."""
    if exact is None or (isinstance(exact, float) and math.isnan(exact)):
        return None
    near, rest = pair(exact)
    if math.isinf(near) or not math.isfinite(value):
        return 0.0 if value == exact else abs(value) if not math.isfinite(value) else math.inf
    return abs((value - near) - rest) / form.ulp(near)


def bits_lost(value: float, exact: Real | None, form: Form) -> float | None:
    """How many of the format's digits are wrong: 0 for a correctly rounded value, all for inf and nan.

    0 too where the exact value is itself too large; None where it is undefined or not known.
    """
    if exact is None or (isinstance(exact, float) and not math.isfinite(exact)):
        return None
    if abs(pair(exact)[0]) > form.too_large:
        is_largest = not math.isfinite(value) or abs(value) == form.largest
        return 0.0 if is_largest else float(form.p)
    ulps = ulps_off(value, exact, form)
    assert ulps is not None
    return min(float(form.p), math.log2(max(1.0, 2 * ulps))) if math.isfinite(ulps) else float(form.p)


def status_of(value: float, exact: Real | None, form: Form) -> str:
    """What became of one number."""
    if exact is None or isinstance(exact, float):
        if math.isnan(value) or exact != exact:  # noqa: PLR0124  # undefined
            return "nan"
        if exact is None or value == exact:
            return "overflow" if exact is None and math.isinf(value) else "exact" if exact is not None else "rounded"
        return "overflow" if math.isinf(value) else "cancelled"
    near = pair(exact)[0]
    if abs(near) > form.too_large or math.isinf(value):
        return "overflow"
    if math.isnan(value):
        return "nan"
    if isinstance(exact, Fraction) and Fraction(value) == exact:
        return "exact"
    ulps, bits = ulps_off(value, exact, form), bits_lost(value, exact, form)
    assert ulps is not None
    assert bits is not None
    if near and abs(near) < math.ldexp(1.0, form.lowest) and ulps <= 1:
        return "underflow"
    return "cancelled" if bits >= max(2, form.p / 4) else "rounded"


POLES = {"div", "rsqrt", "log", "log2", "log10", "log1p", "xlogy", "pow", "atanh", "addcdiv", "lgamma", "factorial",
         "logsigmoid", "digamma"}  # fmt: skip
SUMS = {"add", "sub", "sum", "mean", "dot", "var", "std", "lerp", "addcdiv", "remainder"}
DIVISORS = {"div": 1, "addcdiv": 2, "pow": 0, "xlogy": 1, "log": 0, "log2": 0, "log10": 0, "rsqrt": 0}
"""The argument that is 0 at a pole."""


@dataclass
class Traced:
    """One format at one point: for each step its elements, their worst status, and what the step itself did."""

    program: Program
    form: Form
    values: dict[int, list[float]]
    exact: dict[int, Values]
    overflowed: dict[int, bool]
    status: dict[int, str] = field(default_factory=dict)
    how: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, values in self.values.items():
            pairs = zip(values, self.exact[number], strict=True)
            status = max((status_of(value, exact, self.form) for value, exact in pairs), key=SEVERITY.index)
            how = self.doing(number, status)
            self.how[number] = how
            self.status[number] = "overflow" if how == "pole" and status == "exact" else status

    def doing(self, number: int, status: str) -> str:
        """overflow, underflow, pole, domain, cancellation, absorbed, amplification, or "" for none of them."""
        step, values = self.program.steps[number], self.values[number]
        inputs = [value for arg in step.args for value in self.values[arg]]
        if any(map(math.isnan, values)) and not self.overflowed[number]:
            return "domain" if step.args and not any(map(math.isnan, inputs)) else ""
        if any(map(math.isinf, values)) or self.overflowed[number] or status == "overflow":
            if (
                not all(map(math.isfinite, inputs))
                or step.number in (math.inf, -math.inf)
                or step.op.startswith("$inf")
            ):
                return ""
            return "pole" if self.is_pole(step) else "overflow" if status != "exact" else ""
        if status == "underflow":
            return "underflow"
        if step.op in ("add", "sub") and self.absorbs(step, values):
            return "absorbed"
        if status != "cancelled":
            return ""
        return "cancellation" if step.op in SUMS else "amplification" if step.args else ""

    def is_pole(self, step: Step) -> bool:
        if step.op not in POLES:
            return False
        return step.op not in DIVISORS or 0 in self.values[step.args[DIVISORS[step.op]]]

    def absorbs(self, step: Step, values: Sequence[float]) -> bool:
        """Whether an addend other than 0 changes nothing."""
        left, right = (self.values[arg] * (len(values) // len(self.values[arg])) for arg in step.args)
        signed = right if step.op == "add" else [-value for value in right]
        return any(
            (value == a and b != 0) or (value == b and a != 0) for value, a, b in zip(values, left, signed, strict=True)
        )

    def origin(self, root: int) -> int | None:
        """The step that the error of the result comes from; None if the result is right."""
        if self.status[root] not in WRONG:
            return None
        at = root
        while wrong := [arg for arg in self.used(at) if self.status[arg] in WRONG]:
            at = max(wrong, key=lambda arg: SEVERITY.index(self.status[arg]))
        if self.how[at] in ("cancellation", "amplification"):
            absorbing = [step for step in self.program.order(at) if self.how[step] == "absorbed"]
            return absorbing[-1] if absorbing else at
        return at

    def used(self, number: int) -> tuple[int, ...]:
        """The steps that a step takes its value from: of `where` the condition and the chosen one."""
        step = self.program.steps[number]
        if step.op != "where" or len(self.values[step.args[0]]) > 1:
            return step.args
        condition, yes, no = step.args
        return condition, yes if self.values[condition][0] else no


def trace(program: Program, root: int, point: Mapping[str, Fraction | float], form: Form,
          exact: Mapping[int, Values]) -> Traced:  # fmt: skip
    order = program.order(root)
    names = set(program.variables(root))
    inputs = {name: form.stored(value) for name, value in point.items() if name in names}
    found = compute(program, order, tensors(inputs, form), form)
    for number in order:  # what was too large to store
        op = program.steps[number].op
        if op.startswith("$") and status_of(inputs[op[1:]], point[op[1:]], form) == "overflow":
            found[number] = Computed(found[number].value, torch.ones(1, 1, dtype=torch.bool))
    values = {number: found[number].value.double().flatten().tolist() for number in order}
    overflowed = {number: bool(found[number].overflowed.any()) for number in order}
    return Traced(program, form, values, {number: exact[number] for number in order}, overflowed)


# --- derivatives ---


@dataclass
class Derivative:
    """Steps of a program for the derivative by one variable, in real arithmetic. None is a derivative of 0."""

    program: Program
    name: str
    found: dict[int, int | None] = field(default_factory=dict)

    def of(self, root: int) -> int:
        """The step of the derivative of a step, of a vector element by element."""
        for number in self.program.order(root):
            step = self.program.steps[number]
            if step.op == f"${self.name}":
                self.found[number] = self.program.number(1)
            else:
                inner = [self.found[arg] for arg in step.args]
                self.found[number] = None if all(d is None for d in inner) else self.rule(number, step, inner)
        return self.whole(self.found[root], self.program.steps[root].width)

    def call(self, op: str, *args: float | Fraction) -> int:
        """An operation; a float or Fraction among its arguments is a number, an int a step."""
        return self.program.add(op, *(arg if isinstance(arg, int) else self.program.number(arg) for arg in args))

    def whole(self, derivative: int | None, width: int) -> int:
        """A derivative as long as what it is the derivative of."""
        step = self.program.number(0) if derivative is None else derivative
        return step if self.program.steps[step].width == width else self.program.add("vector", *[step] * width)

    def total(self, *products: tuple[int | float | Fraction, int | None]) -> int | None:
        """The sum of products factor·derivative, without those of 0."""
        terms = [self.call("mul", factor, d) for factor, d in products if d is not None]
        return reduce(lambda x, y: self.call("add", x, y), terms) if terms else None

    def rule(self, number: int, step: Step, inner: list[int | None]) -> int | None:
        op, args = step.op, step.args
        if op in SLOPES:
            return self.total((SLOPES[op](self, args[0], number), inner[0]))
        if op in ("sign", "floor", "ceil", "round", "number", *COMPARISONS):
            return None
        if op in PARTIALS:
            return self.total(*zip(PARTIALS[op](self, *args, number), inner, strict=True))
        return self.of_vector(number, step, inner)

    def of_vector(self, number: int, step: Step, inner: list[int | None]) -> int | None:
        op, call = step.op, self.call
        widths = [self.program.steps[arg].width for arg in step.args]
        x = step.args[0]
        d = [self.whole(one, width) for one, width in zip(inner, widths, strict=True)]
        match op:
            case "where":
                return self.program.add("where", x, d[1], d[2])
            case "vector":
                return self.program.add("vector", *d)
            case "item":
                return self.program.add("item", d[0], step.args[1])
            case "sum" | "mean":
                return call(op, d[0])
            case "dot":
                return call("add", call("dot", d[0], step.args[1]), call("dot", x, d[1]))
            case "prod":
                return call("dot", call("others", x), d[0])
            case "norm":
                return call("div", call("dot", x, d[0]), number)
            case "var" | "std":
                slope = call("div", call("dot", call("sub", x, call("mean", x)), d[0]), Fraction(widths[0] - 1))
                return call("mul", Fraction(2), slope) if op == "var" else call("div", slope, number)
            case "logsumexp":
                return call("dot", call("softmax", x), d[0])
            case "amax" | "amin":
                largest = call("eq", x, number)
                return call("div", call("dot", largest, d[0]), call("sum", largest))
            case "softmax":
                return call("mul", number, call("sub", d[0], call("dot", number, d[0])))
        assert op == "log_softmax"
        return call("sub", d[0], call("dot", call("softmax", x), d[0]))


Slope = Callable[[Derivative, int, int], int | float | Fraction]
"""The derivative of a function, given its argument and its value."""


def over(f: Callable[[Derivative, int], int]) -> Slope:
    """1 over a step."""
    return lambda d, x, _: d.call("div", ONE, f(d, x))


def one_plus_square(d: Derivative, x: int) -> int:
    return d.call("add", ONE, d.call("square", x))


def one_minus_square(d: Derivative, x: int) -> int:
    return d.call("mul", d.call("sub", ONE, x), d.call("add", ONE, x))


def bell(d: Derivative, x: int, scale: float) -> int:
    """e^(−x²/scale)/√(π·scale)."""
    power = d.call("exp", d.call("neg", d.call("div", d.call("square", x), Fraction(scale))))
    return d.call("div", power, d.call("sqrt", d.call("mul", d.program.add("pi"), Fraction(scale))))


def normal(d: Derivative, x: int) -> int:
    """The normal distribution's Φ(x)."""
    return d.call("div", d.call("erfc", d.call("neg", d.call("div", x, d.call("sqrt", Fraction(2))))), Fraction(2))


def at_sigmoid(d: Derivative, x: int) -> int:
    return d.call("sigmoid", d.call("neg", x))


SLOPES: dict[str, Slope] = {
    "neg": lambda *_: Fraction(-1), "square": lambda d, x, _: d.call("mul", Fraction(2), x),
    "sqrt": lambda d, _, y: d.call("div", Fraction(1, 2), y),
    "rsqrt": lambda d, x, y: d.call("neg", d.call("div", y, d.call("mul", Fraction(2), x))),
    "abs": lambda d, x, _: d.call("sign", x), "exp": lambda _d, _x, y: y,
    "exp2": lambda d, _, y: d.call("mul", y, d.call("log", Fraction(2))), "expm1": lambda d, x, _: d.call("exp", x),
    "log": lambda d, x, _: d.call("div", ONE, x), "log1p": over(lambda d, x: d.call("add", ONE, x)),
    "log2": over(lambda d, x: d.call("mul", x, d.call("log", Fraction(2)))),
    "log10": over(lambda d, x: d.call("mul", x, d.call("log", Fraction(10)))),
    "sin": lambda d, x, _: d.call("cos", x), "cos": lambda d, x, _: d.call("neg", d.call("sin", x)),
    "tan": over(lambda d, x: d.call("square", d.call("cos", x))),
    "asin": over(lambda d, x: d.call("sqrt", one_minus_square(d, x))),
    "acos": lambda d, x, _: d.call("div", Fraction(-1), d.call("sqrt", one_minus_square(d, x))),
    "atan": over(one_plus_square), "sinh": lambda d, x, _: d.call("cosh", x), "cosh": lambda d, x, _: d.call("sinh", x),
    "tanh": over(lambda d, x: d.call("square", d.call("cosh", x))),
    "asinh": over(lambda d, x: d.call("sqrt", one_plus_square(d, x))),
    "acosh": over(lambda d, x: d.call("sqrt", d.call("mul", d.call("sub", x, ONE), d.call("add", x, ONE)))),
    "atanh": over(one_minus_square), "sigmoid": lambda d, x, y: d.call("mul", y, at_sigmoid(d, x)),
    "logsigmoid": lambda d, x, _: at_sigmoid(d, x), "softplus": lambda d, x, _: d.call("sigmoid", x),
    "relu": lambda d, x, _: d.call("gt", x, ZERO), "erf": lambda d, x, _: d.call("mul", Fraction(2), bell(d, x, 1)),
    "erfc": lambda d, x, _: d.call("mul", Fraction(-2), bell(d, x, 1)),
    "gelu": lambda d, x, _: d.call("add", normal(d, x), d.call("mul", x, bell(d, x, 2))),
    "silu": lambda d, x, y: d.call("mul", d.call("sigmoid", x), d.call("add", ONE, d.call("sub", x, y))),
    "lgamma": lambda d, x, _: d.call("digamma", x),
    "factorial": lambda d, x, y: d.call("mul", y, d.call("digamma", d.call("add", x, ONE))),
}  # fmt: skip
Partials = Callable[..., tuple[int | float | Fraction, ...]]
"""The partial derivatives of a function, given its arguments and its value."""


def power_partials(d: Derivative, x: int, n: int, y: int) -> tuple[int, int]:
    by_base = d.call("mul", n, d.call("pow", x, d.call("sub", n, ONE)))
    return by_base, d.call("where", d.call("eq", y, ZERO), ZERO, d.call("mul", y, d.call("log", x)))


def greater_partials(op: str) -> Partials:
    """Max and min; torch gives each half where both are equal."""

    def partials(d: Derivative, x: int, y: int, _: int) -> tuple[int, int]:
        tie = d.call("eq", x, y)
        shares = (d.call("where", tie, Fraction(1, 2), d.call(op, *pair)) for pair in ((x, y), (y, x)))
        return next(shares), next(shares)

    return partials


def atan2_partials(d: Derivative, y: int, x: int, _: int) -> tuple[int, int]:
    square = d.call("add", d.call("square", x), d.call("square", y))
    return d.call("div", x, square), d.call("neg", d.call("div", y, square))


PARTIALS: dict[str, Partials] = {
    "add": lambda *_: (ONE, ONE), "sub": lambda *_: (ONE, -ONE), "mul": lambda _d, x, y, _: (y, x),
    "div": lambda d, _x, y, z: (d.call("div", ONE, y), d.call("neg", d.call("div", z, y))), "pow": power_partials,
    "atan2": atan2_partials, "hypot": lambda d, x, y, z: (d.call("div", x, z), d.call("div", y, z)),
    "logaddexp": lambda d, x, y, _: tuple(d.call("sigmoid", d.call("sub", *each)) for each in ((x, y), (y, x))),
    "xlogy": lambda d, x, y, _: (d.call("log", y), d.call("div", x, y)), "max": greater_partials("gt"),
    "min": greater_partials("lt"),
    "remainder": lambda d, x, y, _: (ONE, d.call("neg", d.call("floor", d.call("div", x, y)))),
    "lerp": lambda d, x, y, w, _: (d.call("sub", ONE, w), w, d.call("sub", y, x)),
    "addcdiv": lambda d, _x, y, z, _: (
        ONE, d.call("div", ONE, z), d.call("neg", d.call("div", y, d.call("square", z)))),
}  # fmt: skip


def autograd(
    program: Program, root: int, point: Mapping[str, Fraction | float], form: Form
) -> tuple[dict[str, float], int | None]:
    """The gradient of the (summed) formula by autograd, and the step whose backward pass first gives inf or nan."""
    names = program.variables(root)
    inputs = tensors({name: form.stored(point[name]) for name in names}, form)
    for tensor in inputs.values():
        tensor.requires_grad_()
    order = program.order(root)
    found = {number: computed.value for number, computed in compute(program, order, inputs, form).items()}
    kept = [number for number in order if found[number].requires_grad]
    for number in kept:
        found[number].retain_grad()
    if not kept or not found[root].requires_grad:
        return dict.fromkeys(names, 0.0), None
    found[root].sum().backward()
    slopes = {number: found[number].grad for number in kept}
    broken = None
    for number in reversed(kept):
        own = slopes[number]
        if own is None or not bool(own.isfinite().all()):
            continue
        if any(arg in slopes and slopes[arg] is not None and not bool(slopes[arg].isfinite().all())
               for arg in program.steps[number].args):  # fmt: skip
            broken = number
    return {
        name: float(tensor.grad.double()) if tensor.grad is not None else 0.0 for name, tensor in inputs.items()
    }, broken


# --- ranges ---

Range = tuple[float, float]


def key(number: float) -> int:
    """Integers in the order of the float64 numbers; neighbours differ by one."""
    bits = int(struct.unpack("<q", struct.pack("<d", abs(number)))[0])
    return -bits if number < 0 else bits


def from_key(integer: int) -> float:
    size = float(struct.unpack("<d", struct.pack("<q", abs(integer)))[0])
    return -size if integer < 0 else size


def axis(low: float, high: float, n: int, unit: float) -> Tensor:
    """N numbers from low to high, evenly on an axis that is linear near 0, within `unit`, and logarithmic beyond."""
    ends = torch.tensor([low, high], dtype=torch.float64)
    first, last = (ends / unit).asinh()
    inner = torch.linspace(float(first), float(last), n, dtype=torch.float64).sinh() * unit
    return torch.cat([ends, inner.clamp(low, high)])


def map_axis(low: float, high: float, n: int) -> Tensor:
    """The points of a map, ten decades down from the larger end; 0 is one of them if it is in the range."""
    return within_range(
        torch.cat([axis(low, high, n, max(abs(low), abs(high)) * 1e-10 or 1.0), torch.zeros(1)]), low, high
    )


def search_axis(low: float, high: float) -> Tensor:
    """Points that a search looks at: evenly in several scales, small integers, powers of two down to the smallest."""
    reach = max(abs(low), abs(high)) or 1.0
    spread = [axis(low, high, SEARCH_POINTS // 3, unit) for unit in (reach, reach * 1e-10, reach * 1e-45)]
    powers = torch.exp2(-torch.arange(1, 160, 3, dtype=torch.float64))
    return within_range(torch.cat([*spread, torch.arange(-64, 65), powers, -powers]), low, high)


def within_range(numbers: Tensor, low: float, high: float) -> Tensor:
    numbers = numbers.double().unique()
    return numbers[(numbers >= low) & (numbers <= high)]


def combined(columns: Sequence[Tensor]) -> Tensor:
    """Points of several variables, shape (N, variables): each in a disorder of its own, then all side by side."""
    n = max(map(len, columns))
    places = torch.arange(n)
    strides = (1, 7919, 104729, 1299709, 15485863, 179424673)
    mixed = [column[places * strides[k % len(strides)] % len(column)] for k, column in enumerate(columns)]
    if len(columns) == 1:
        return mixed[0][:, None]
    along_diagonal = [column[places[::4] % len(column)] for column in columns]
    return torch.cat([torch.stack(mixed, 1), torch.stack(along_diagonal, 1)])


def each_once(points: Tensor) -> Tensor:
    """Sorted by the first variable; of several variables already as good as unique."""
    return points.unique()[:, None] if points.shape[1] == 1 else points[points[:, 0].argsort(stable=True)]


Predicate = Callable[[Tensor], Tensor]
"""For points of shape (N, variables), whether something holds at each."""


@dataclass
class Searcher:
    """Evaluates a formula of one or more variables at many points, and looks for those at which it is inf or nan."""

    program: Program
    root: int
    ranges: dict[str, Range]
    fixed: dict[str, Fraction | float]

    def __post_init__(self) -> None:
        self.order = self.program.order(self.root)
        self.axes: dict[tuple[Range, ...], Tensor] = {}

    def points(self, form: Form) -> Tensor:
        """Where a search looks, not beyond the largest number of the format."""
        most = form.largest
        spans = tuple((min(max(low, -most), most), min(max(high, -most), most)) for low, high in self.ranges.values())
        if spans not in self.axes:
            self.axes[spans] = combined([search_axis(*span) for span in spans])
        return self.axes[spans]

    def rounded(self, points: Tensor, form: Form) -> Tensor:
        """Points of the format inside the ranges, each once and sorted."""
        stored = points.to(form.dtype).double() + 0.0  # no negative zero
        low, high = (torch.tensor(ends, dtype=torch.float64) for ends in zip(*self.ranges.values(), strict=True))
        inside = (stored.isfinite() & (stored >= low) & (stored <= high)).all(1)
        return each_once(stored[inside])

    def compute(self, points: Tensor, form: Form, order: Sequence[int] | None = None) -> dict[int, Computed]:
        inputs = {name: points[:, k : k + 1].to(form.dtype) for k, name in enumerate(self.ranges)}
        inputs |= {name: torch.tensor([[form.stored(value)]], dtype=torch.float64).to(form.dtype)
                   for name, value in self.fixed.items()}  # fmt: skip
        wide = {name: value.float() if form.is_float8 else value for name, value in inputs.items()}
        return compute(self.program, order or self.order, wide, form)

    def broken(self, form: Form) -> Predicate:
        def is_broken(points: Tensor) -> Tensor:
            value, overflowed = self.compute(points, form)[self.root]
            return (~value.isfinite() | overflowed).any(-1).expand(len(points))

        return is_broken

    def searched(self, form: Form) -> Tensor:
        """The points of a search in a format: for one variable also those at which a sign changes."""
        points = self.rounded(self.points(form), form)
        if len(self.ranges) > 1 or len(points) < 2:
            return points
        return each_once(torch.cat([points, *self.sign_changes(points, form)]))

    def sign_changes(self, points: Tensor, form: Form) -> Iterator[Tensor]:
        """Neighbouring numbers between which a divisor or the argument of a logarithm or root changes its sign."""
        steps = (self.program.steps[number] for number in self.order)
        risky = {self.inside(step.args[DIVISORS[step.op]]) for step in steps if step.op in DIVISORS}
        values = self.compute(points, form)
        for number in sorted(risky)[:MAX_REGIONS]:
            value = values[number].value
            if value.shape != (len(points), 1):
                continue
            signs = value.flatten().double().sign()
            for i in ((signs[1:] * signs[:-1]) < 0).nonzero().flatten().tolist()[:2]:
                has_sign = self.has_sign(number, float(signs[i]), form)
                yield torch.tensor(edge(float(points[i]), float(points[i + 1]), has_sign, form), dtype=torch.float64)[
                    :, None
                ]

    def where_it_cancels(self, form: Form) -> Tensor:
        """Points around those at which a sum, difference or logarithm is smallest beside its arguments."""
        points = self.rounded(self.points(form), form)
        steps = [number for number in self.order if self.program.steps[number].op in ("add", "sub", "log")]
        found = [points[:0]]
        for number in steps[:MAX_REGIONS] if len(points) > 2 else ():
            middle = min(max(int(self.remaining(number, points, form).argmin()), 1), len(points) - 2)
            ends = float(points[middle - 1]), float(points[middle + 1])
            smallest = self.smallest(number, ends[0], ends[1], form)
            scales = torch.exp2(-torch.arange(0, form.p, 2, dtype=torch.float64))
            found += [(smallest + (end - smallest) * scales)[:, None] for end in ends]
        return self.rounded(torch.cat(found), form)

    def remaining(self, number: int, points: Tensor, form: Form) -> Tensor:
        """The size of a step beside that of its arguments, of a logarithm beside 1."""
        step, order = self.program.steps[number], self.program.order(number)
        values = {each: computed.value.double() for each, computed in self.compute(points, form, order).items()}
        if step.width > 1:
            return torch.ones(len(points))
        sizes = [values[arg].abs() for arg in step.args] if step.op != "log" else [torch.ones(1, 1)]
        ratio = values[number].abs() / torch.stack(torch.broadcast_tensors(*sizes)).sum(0)
        return ratio.expand(len(points), 1).flatten().nan_to_num(math.inf, math.inf)

    def smallest(self, number: int, low: float, high: float, form: Form) -> float:
        """Where between two numbers a step is smallest beside its arguments, by sections."""
        while True:
            points = self.rounded(torch.linspace(low, high, 2 * SECTIONS + 1, dtype=torch.float64)[:, None], form)
            at: list[float] = points.flatten().tolist()
            best = int(self.remaining(number, points, form).argmin())
            ends = at[max(best - 1, 0)], at[min(best + 1, len(at) - 1)]
            if len(at) <= 3 or ends == (low, high):
                return at[best]
            low, high = ends

    def inside(self, number: int) -> int:
        """The step whose zeros a step has: that inside |…|, squares and roots."""
        step = self.program.steps[number]
        return self.inside(step.args[0]) if step.op in ("abs", "square", "sqrt", "neg") else number

    def has_sign(self, number: int, sign: float, form: Form) -> Predicate:
        order = self.program.order(number)
        return lambda points: self.compute(points, form, order)[number].value.flatten().sign() == sign

    def regions(self, form: Form) -> list[tuple[list[float], list[float]]]:
        """Where it is inf or nan: the first and last point of each region, for one variable to the last number."""
        points = self.searched(form)
        if not len(points):
            return []
        flags = self.broken(form)(points)
        if len(self.ranges) > 1:
            nearest = points[flags].abs().amax(1).argsort()
            return [(point, point) for point in points[flags][nearest][:MAX_REGIONS].tolist()]
        at = points.flatten().tolist()
        is_broken = self.broken(form)
        found = []
        most = MAX_REGIONS if len(self.order) <= SMALL_WORK / 2 else 1
        for first, last in chosen_runs(flags.tolist(), at)[:most]:
            low = edge(at[first - 1], at[first], lambda x: ~is_broken(x), form)[1] if first else at[0]
            high = edge(at[last], at[last + 1], is_broken, form)[0] if last < len(at) - 1 else at[-1]
            found.append(([low], [high]))
        return found


def chosen_runs(flags: Sequence[bool], at: Sequence[float], gap: int = 0) -> list[tuple[int, int]]:
    """The longest runs of true flags, first and last index, in order; of equal ones those next to 0.

    Runs with at most `gap` other flags between them are one.
    """
    runs: list[tuple[int, int]] = []
    for i in (i for i, flag in enumerate(flags) if flag):
        if runs and i - runs[-1][1] <= gap + 1:
            runs[-1] = runs[-1][0], i
        else:
            runs.append((i, i))
    runs.sort(key=lambda run: (run[0] - run[1], min(abs(at[run[0]]), abs(at[run[1]]))))
    return sorted(runs[:MAX_REGIONS])


def edge(low: float, high: float, holds: Predicate, form: Form) -> tuple[float, float]:
    """Neighbouring numbers of the format between low, where something holds, and high, where it does not."""
    while True:
        first, last = key(low), key(high)
        keys = {first + (last - first) * k // SECTIONS for k in range(1, SECTIONS)}
        numbers = torch.tensor([from_key(k) for k in sorted(keys)], dtype=torch.float64)
        stored = numbers.to(form.dtype).double().unique()
        inner = stored[(stored > low) & (stored < high)]
        if not len(inner):
            return low, high
        flags = [*holds(inner[:, None]).tolist(), False]
        between = [low, *inner.tolist(), high]
        wrong = flags.index(False)
        low, high = between[wrong], between[wrong + 1]


# --- measurements ---


@dataclass
class Sampled:
    """Bits lost by every form at points of one format; None where the exact value is undefined or unknown."""

    points: list[list[float]]
    bits: list[list[float | None]]
    """One list for each form."""
    finite: list[bool]
    """Whether the first form is finite."""

    def mean(self, form: int) -> float | None:
        found = [bits for bits in self.bits[form] if bits is not None]
        return math.fsum(found) / len(found) if found else None

    def most(self, form: int) -> float | None:
        return max((bits for bits in self.bits[form] if bits is not None), default=None)


def flat(points: Sequence[Sequence[float]]) -> list[float]:
    """The points of one variable."""
    return [point[0] for point in points]


def worst_bits(values: Sequence[float], exact: Values, form: Form) -> float | None:
    if len(values) != len(exact):
        return float(form.p)
    found = [bits_lost(value, true, form) for value, true in zip(values, exact, strict=True)]
    return None if None in found else max(bits for bits in found if bits is not None)


def real(number: float) -> Fraction | float:
    """A float as an exact value."""
    return Fraction(number) if math.isfinite(number) else number


def half_lost(bits: float | None, form: Form) -> bool:
    return bits is not None and bits >= max(2.0, form.p / 2)


@dataclass
class Study:
    """The measurements of one run."""

    program: Program
    roots: list[int]
    """The formula's step and those of the alternatives."""
    given: dict[str, Fraction | float]
    ranges: dict[str, Range]
    samples: dict[str, Sampled] = field(default_factory=dict)
    dtype: str = "float32"
    """The format whose breaking input is shown, if it has one."""
    breaks: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = list(self.ranges)
        if self.ranges:
            self.searchers = [Searcher(self.program, root, self.ranges, self.given) for root in self.roots]

    def sample(self, points: Tensor, form: Form, roots: Sequence[int]) -> Sampled:
        """The forms with these numbers at points of the format; what is given is rounded to it too."""
        exact = [self.true_values(point, form, compared=i % 16 == 8) for i, point in enumerate(points.tolist())]
        bits: list[list[float | None]] = []
        finite: list[bool] = []
        for k in roots:
            searcher = self.searchers[k]
            values = searcher.compute(points, form)[searcher.root].value.double().expand(len(points), -1)
            finite = finite or values.isfinite().all(1).tolist()
            bits.append([worst_bits(row, true, form) for row, true in zip(values.tolist(), exact, strict=True)])
        return Sampled(points.tolist(), bits, finite)

    def map_rows(self) -> Iterator[Row]:
        """Samples every format, and yields the points of the map."""
        n = int(min(MAP_POINTS, max(8, MAP_WORK / max(1.0, self.program.work([self.roots[0]])))))
        points = combined([map_axis(*span, n) for span in self.ranges.values()])
        for form in FORMS:
            stored = self.searchers[0].rounded(points, form)
            sampled = self.samples[form.name] = self.sample(stored, form, range(len(self.roots)))
            for k, bits in enumerate(sampled.bits[:4] if form in FORMS[:4] else sampled.bits[:1]):
                for point, lost in zip(sampled.points, bits, strict=True):
                    row: Row = {"kind": "map", "dtype": form.name, "form": k, "bits": lost, "low": point[0]}
                    yield row if k else row | {"place": point[0], "lost": lost}

    def region_rows(self) -> Iterator[Row]:
        """Where the formula breaks, and notes an input that breaks it in each format."""
        for form in FORMS:
            broken = self.searchers[0].regions(form)
            lost = self.lost_points(form) if len(self.ranges) > 1 else list(self.lost_regions(form))
            candidates: list[tuple[int, list[float]]] = []
            for regions, is_broken in ((broken, True), (lost, False)):
                for ends in regions:
                    words = [self.word(end, form) if is_broken else ("cancelled", "lost") for end in ends]
                    candidates += [(BREAKS.index(how), end) for (_, how), end in zip(words, ends, strict=True)]
                    nearest = min(zip(words, ends, strict=True), key=lambda each: self.remoteness(each[1]))[0]
                    yield {
                        "kind": "region", "dtype": form.name, "form": 0, "low": ends[0][0], "high": ends[1][0],
                        "status": nearest[0], "how": "" if nearest[1] == "lost" else nearest[1],
                    }  # fmt: skip
            if candidates:
                chosen = min(candidates, key=lambda each: (each[0], self.remoteness(each[1])))
                self.breaks[form.name] = chosen[1]
                for name, value in zip(self.names, chosen[1], strict=True):
                    yield {"kind": "break", "dtype": form.name, "operation": name, "value": value}

    def word(self, point: list[float], form: Form) -> tuple[str, str]:
        """What it is there, and why: "" if the format has the exact value, overflow if not, domain if there is none."""
        value = self.searchers[0].compute(torch.tensor([point], dtype=torch.float64), form)[self.roots[0]].value
        status = "nan" if bool(value.isnan().any()) else "overflow"
        true = self.true_values(point, form)
        if any(one is None or (isinstance(one, float) and not math.isfinite(one)) for one in true):
            return status, "domain"
        return status, "overflow" if any(abs(pair(one)[0]) > form.too_large for one in true if one is not None) else ""

    def true_values(self, point: list[float], form: Form, *, compared: bool = False) -> Values:
        """The exact value of the formula with these numbers, the given ones rounded to the format."""
        given = {name: real(form.stored(value)) for name, value in self.given.items()}
        inputs = given | dict(zip(self.names, map(real, point), strict=True))
        root = self.roots[0]
        return exactly(self.program, [root], inputs, compared=compared, work=MAP_POINT_WORK)[root]

    def remoteness(self, point: list[float]) -> tuple[bool, float, float]:
        """Orders inputs that break it: not the very ends of the range, then the nearest to 0, positive ones first."""
        return point[0] in self.ranges[self.names[0]], max(map(abs, point)), -point[0]

    def lost_points(self, form: Form) -> list[tuple[list[float], list[float]]]:
        """Of several variables: points of the map at which half the bits or more are lost."""
        sampled = self.samples[form.name]
        pairs = zip(sampled.points, sampled.bits[0], sampled.finite, strict=True)
        lost = sorted((point for point, bits, ok in pairs if ok and half_lost(bits, form)), key=self.remoteness)
        return [(point, point) for point in lost[:MAX_REGIONS]]

    def lost_regions(self, form: Form) -> Iterator[tuple[list[float], list[float]]]:
        """Where half the bits or more are lost and the value is finite: on the map, and where a step cancels."""
        sampled = self.samples[form.name]
        found = dict(zip(flat(sampled.points), zip(sampled.finite, sampled.bits[0], strict=True), strict=True))
        if self.program.work(self.roots[:1]) <= SMALL_WORK and form in FORMS[:4]:
            closer = self.sample(self.searchers[0].where_it_cancels(form), form, [0])
            found |= dict(zip(flat(closer.points), zip(closer.finite, closer.bits[0], strict=True), strict=True))
        at = sorted(found)
        flags = [ok and half_lost(bits, form) for ok, bits in map(found.__getitem__, at)]
        for first, last in chosen_runs(flags, at, gap=3)[:2]:
            low = self.near_edge(at[first], at[first - 1], form) if first else at[first]
            high = self.near_edge(at[last], at[last + 1], form) if last < len(at) - 1 else at[last]
            yield [low], [high]

    def near_edge(self, bad: float, fine: float, form: Form) -> float:
        """The last number towards `fine` that still loses its digits, to a few digits: the loss is no clean step."""
        for _ in range(8 if self.program.work(self.roots[:1]) <= SMALL_WORK else 0):
            middle = form.stored(Fraction((bad + fine) / 2))
            if middle in (bad, fine):
                break
            bits = self.sample(torch.tensor([[middle]], dtype=torch.float64), form, [0]).bits[0][0]
            bad, fine = (middle, fine) if half_lost(bits, form) else (bad, middle)
        return bad

    def form_rows(self) -> Iterator[Row]:
        """How each form does on average and at worst, and where an alternative wins."""
        for form in FORMS:
            sampled = self.samples[form.name]
            for k in range(len(self.roots)):
                yield {"kind": "form", "dtype": form.name, "form": k, "bits": sampled.mean(k), "worst": sampled.most(k)}
                if k and self.ranges:
                    yield from self.win_rows(sampled, k, form)

    def win_rows(self, sampled: Sampled, k: int, form: Form) -> Iterator[Row]:
        pairs = zip(sampled.bits[0], sampled.bits[k], strict=True)
        gains = [0.0 if first is None or other is None else first - other for first, other in pairs]
        at = [point[0] for point in sampled.points]
        for first, last in chosen_runs([gain >= 1 for gain in gains], at, gap=3):
            gained = math.fsum(gains[first : last + 1]) / (last + 1 - first)
            yield {"kind": "wins", "dtype": form.name, "form": k, "bits": gained, "low": at[first], "high": at[last]}

    def at(self) -> dict[str, Fraction | float]:
        """The point of the steps: the given values, and in the ranges an input that breaks it, else the middle."""
        middle = [low / 2 + high / 2 for low, high in self.ranges.values()]
        order = (self.dtype, "float32", "float16", "bfloat16", "float64")
        shown = next((self.breaks[name] for name in order if name in self.breaks), middle)
        return self.given | dict(zip(self.names, map(real, shown), strict=True))

    def node_rows(self, point: Mapping[str, Fraction | float], metrics: Metrics) -> Iterator[Row]:
        """Every step in every format at one point; enters the values of the result into the metrics."""
        program, root = self.program, self.roots[0]
        order = program.order(root)
        exact = exactly(program, order, point, compared=True)
        true = exact[root]
        metrics["exact"] = None if true[0] is None else pair(true[0])[0]
        for form in FORMS:
            traced = trace(program, root, point, form, exact)
            metrics[f"value_{form.name}"] = traced.values[root][0]
            metrics[f"ulps_{form.name}"] = ulps_off(traced.values[root][0], true[0], form)
            origin = traced.origin(root)
            for place, number in list(enumerate(order, 1))[-(MAX_NODE_ROWS // len(FORMS)) :]:
                row: Row = {
                    "kind": "node", "dtype": form.name, "node": number, "operation": program.label(number),
                    "inputs": " ".join(map(str, program.steps[number].args)), "status": traced.status[number],
                    "how": traced.how[number], "first": int(number == origin),
                }  # fmt: skip
                row |= cells(traced.values[number], exact[number], form)
                bits = worst_bits(traced.values[number], exact[number], form)
                yield row if self.ranges else row | {"place": place, "lost": bits}
            if not self.ranges:
                self.single_point(form, point, true)

    def single_point(self, form: Form, point: Mapping[str, Fraction | float], true: Values) -> None:
        """Every form at the one point that is given; each number in it is rounded to the format first."""
        inputs = tensors({name: form.stored(value) for name, value in point.items()}, form)
        values = (compute(self.program, self.program.order(root), inputs, form)[root].value for root in self.roots)
        bits: list[list[float | None]] = [
            [worst_bits(value.double().flatten().tolist(), true, form)] for value in values
        ]
        self.samples[form.name] = Sampled([], bits, [])

    def gradient_rows(self, point: Mapping[str, Fraction | float], metrics: Metrics) -> Iterator[Row]:
        """The derivative by each variable, of a vector that of its sum."""
        program, root = self.program, self.roots[0]
        names = program.variables(root)
        total = program.add("sum", root) if program.steps[root].width > 1 else root
        by_name = {name: Derivative(program, name).of(total) for name in names}
        exact = exactly(program, list(by_name.values()), point, compared=True) if names else {}
        for form in FORMS[:4]:
            slopes, broken = autograd(program, root, point, form)
            for name in names:
                true, slope = exact[by_name[name]][0], slopes[name]
                row: Row = {"kind": "gradient", "dtype": form.name, "operation": name, "node": broken}
                yield row | cells([slope], [true], form) | {"status": status_of(slope, true, form)}
                if name == names[0]:
                    metrics["gradient_exact"] = None if true is None else pair(true)[0]
                    metrics[f"gradient_{form.name}"] = slope


def cells(values: Sequence[float], exact: Values, form: Form) -> Row:
    """Value, exact value and error of a step; the elements of a vector as text, with the largest error."""
    true = [None if one is None else pair(one)[0] for one in exact]
    errors = [ulps_off(value, one, form) for value, one in zip(values, exact, strict=True)]
    worst = max(
        (error for error in errors if error is not None), key=lambda error: (math.isnan(error), error), default=None
    )
    if len(values) == 1:
        return {"value": values[0], "exact": true[0], "ulps": worst}
    return {"value": f"[{', '.join(map(str, values))}]", "exact": f"[{', '.join(map(str, true))}]", "ulps": worst}


def read_values(text: str) -> tuple[dict[str, Fraction | float], dict[str, Range]]:
    """The numbers and the ranges in x=100 y=1/3 z=-1000..1000. Raises ValueError."""
    given: dict[str, Fraction | float] = {}
    ranges: dict[str, Range] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        low, dots, high = value.partition("..")
        if dots:
            ends = sorted(min(max(as_float(Fraction(end)), -1e308), 1e308) for end in (low, high))
            ranges[name] = ends[0], ends[1]
        else:
            given[name] = NONFINITE[value] if value in NONFINITE else Fraction(value)
    return given, ranges


def run(
    expression: str = "(log (add 1 (exp x)))",
    alternatives: str = "",
    values: str = "x=100",
    gradient: bool = True,
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32",
) -> Generator[Row, None, Metrics]:
    program = Program()
    roots = [program.read(line) for line in (expression, *alternatives.splitlines()) if line.strip()]
    given, ranges = read_values(values)
    used = program.variables(*roots)
    if missing := [name for name in used if name not in given and name not in ranges]:
        raise ValueError(f"no value for {', '.join(missing)}")
    ranges = {name: ranges[name] for name in used if name in ranges}
    study = Study(program, roots, {name: given[name] for name in used if name in given}, ranges, dtype=dtype)
    metrics: Metrics = dict.fromkeys(METRICS)
    if ranges:
        yield from study.map_rows()
        yield from study.region_rows()
    point = study.at()
    for name, value in point.items():
        yield {"kind": "point", "operation": name, "value": value if isinstance(value, float) else as_float(value)}
    yield from study.node_rows(point, metrics)
    if gradient:
        yield from study.gradient_rows(point, metrics)
    yield from study.form_rows()
    for form in FORMS:
        if form.name in study.breaks:
            metrics[f"breaks_at_{form.name}"] = study.breaks[form.name][0]
    return metrics


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
