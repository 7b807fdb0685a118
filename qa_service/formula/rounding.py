"""How many bits a formula loses, estimated by running error analysis (Higham 2002, §3.3; Wilkinson).

The estimate is of the first order and needs no exact values: each node's value in float64 comes with a bound of its
absolute error, which the next operation multiplies by its derivative and increases by its own rounding. It orders
candidates of a search; what is shown to a user is measured by the experiment, against exact values.

Values are arrays of shape (points,) for numbers and (points, elements) for vectors.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from qa_service.formula.functions import FUNCTIONS
from qa_service.formula.tree import Call, Node, Number, Variable

Array = npt.NDArray[np.float64]
Ball = tuple[Array, Array]
"""(values, bounds of their absolute errors)."""

WORST_BITS = 64.0
"""Bits lost by a value that is nan, infinite, or wrong in its leading digit."""
TOLERATED_BITS = 2.0
"""Bits that are not counted: the bound of a few roundings, which the errors seldom reach."""
SAMPLED_VECTOR_LENGTH = 3
"""The number of elements that a vector variable has in the samples."""
TRUNCATED_SERIES = "truncated"
"""An internal function of two arguments: a partial sum of a series, and the first term that it leaves out."""


@dataclass(frozen=True, slots=True)
class EmulatedFormat:
    """A binary floating-point format whose arithmetic is imitated by rounding float64 values."""

    significand_bits: int
    """The number of bits of the significand, the hidden one included."""
    smallest: float
    """The smallest positive normal number."""
    largest: float

    @property
    def unit_roundoff(self) -> float:
        """Half the distance between 1 and the next larger number, the largest relative error of a rounding."""
        return 2.0**-self.significand_bits

    @property
    def tiny(self) -> float:
        """The smallest positive number, a subnormal one."""
        return self.smallest * 2.0 ** (1 - self.significand_bits)

    def round(self, value: Array) -> Array:
        """The nearest numbers of the format, ±inf beyond its range."""
        if self.significand_bits == 53:
            return value
        significand, exponent = np.frexp(value)
        rounded = np.ldexp(np.round(np.ldexp(significand, self.significand_bits)), exponent - self.significand_bits)
        rounded = np.where(np.abs(value) < self.smallest, np.round(value / self.tiny) * self.tiny, rounded)
        return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, value), rounded)


EMULATED_FORMATS = {
    "float64": EmulatedFormat(53, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023),
    "float32": EmulatedFormat(24, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "bfloat16": EmulatedFormat(8, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    "float16": EmulatedFormat(11, 2.0**-14, 65504.0),
}
"""The formats for which forms are sought."""


class Estimates:
    """Values and error bounds of formulas at sampled points; what formulas have in common is computed once."""

    def __init__(self, points: Mapping[str, Array], dtype: str = "float64") -> None:
        self.format = EMULATED_FORMATS[dtype]
        self.points = dict(points)
        self.count = len(next(iter(self.points.values()))) if self.points else 1
        self._known: dict[Node, Ball] = {}

    def value(self, tree: Node) -> Ball:
        """The values of a formula and the bounds of their errors."""
        known = self._known.get(tree)
        if known is None:
            with np.errstate(all="ignore"):
                known = self._known[tree] = self._evaluate(tree)
        return known

    def bits(self, tree: Node) -> Array:
        """Bits lost at each point, from 0 to `WORST_BITS`; of a vector, by its worst element."""
        value, error = self.value(tree)
        with np.errstate(all="ignore"):
            ulp = np.maximum(np.abs(value) * self.format.unit_roundoff, self.format.tiny)
            ulp = np.where(value == 0, 4 * self.format.smallest, ulp)  # what underflows is as good as zero
            lost = np.log2(np.maximum(error / ulp, 1.0))
        lost = np.where(np.isfinite(value) & np.isfinite(error), np.minimum(lost, WORST_BITS), WORST_BITS)
        lost = np.where(lost > self.format.significand_bits, WORST_BITS, np.maximum(lost - TOLERATED_BITS, 0.0))
        return np.asarray(lost.max(axis=1) if lost.ndim == 2 else np.broadcast_to(lost, (self.count,)))

    def outside_domain(self, tree: Node) -> npt.NDArray[np.bool_]:
        """The points at which some operation is not defined for inputs that are finite and known to a digit or more."""
        outside = np.zeros(self.count, dtype=bool)
        if not isinstance(tree, Call):
            return outside
        reliable = np.ones(self.count, dtype=bool)
        for argument in tree.arguments:
            outside |= self.outside_domain(argument)
            value, error = self.value(argument)
            with np.errstate(all="ignore"):
                fine = np.isfinite(value) & (error <= 0.1 * np.abs(value))
            reliable &= fine.all(axis=-1) if fine.ndim == 2 else fine
        undefined = np.isnan(self.value(tree)[0])
        return outside | ((undefined.any(axis=-1) if undefined.ndim == 2 else undefined) & reliable)

    def _evaluate(self, tree: Node) -> Ball:
        match tree:
            case Number(number):
                return self._constant(number)
            case Variable(name):
                return self.points[name], np.zeros_like(self.points[name])
            case Call(function, arguments):
                value, error = self._call(function, [self.value(argument) for argument in arguments], tree)
                return value, np.where(np.isnan(error), np.inf, error)
        raise AssertionError(tree)

    def _constant(self, value: Fraction | float) -> Ball:
        if not isinstance(value, Fraction):
            return np.array([value]), np.zeros(1)
        try:
            nearest = float(self.format.round(np.array([float(value)]))[0])
            return np.array([nearest]), np.array([abs(float(Fraction(nearest) - value))])
        except OverflowError:
            return np.array([math.inf if value > 0 else -math.inf]), np.zeros(1)

    def _call(self, function: str, arguments: list[Ball], tree: Call) -> Ball:
        if function == TRUNCATED_SERIES:
            (value, error), (omitted, _) = arguments
            return value, error + np.abs(omitted)
        kind = FUNCTIONS[function].kind
        if kind == "constant":
            return self._constant(Fraction({"pi": math.pi, "e": math.e}[function]))
        if kind == "item":
            index = tree.arguments[1]
            assert isinstance(index, Number)
            value, error = arguments[0]
            return value[:, int(index.value)], error[:, int(index.value)]
        if kind in {"reduction", "map"}:
            return self._rounded(_REDUCTIONS[function](self.format.unit_roundoff, *arguments))
        if kind == "vector":
            return _stacked(arguments)
        if any(value.ndim == 2 for value, _ in arguments):
            arguments = [(v[:, None], e[:, None]) if v.ndim == 1 else (v, e) for v, e in arguments]
        if function in _UNARY:
            return self._rounded(_unary(function, *arguments[0]))
        if function == "div":
            return self._rounded(self._div(*arguments))
        if function == "lerp":
            return self._rounded(self._lerp(*arguments))
        made = _OTHERS[function](*arguments)
        return made if function in _EXACT else self._rounded(made)

    def _rounded(self, made: Ball) -> Ball:
        """The value rounded to the format, its error with that of the rounding: half an ulp, and more in underflow."""
        value, error = made
        magnitude = np.abs(value)
        own = np.where(np.isfinite(magnitude), magnitude * self.format.unit_roundoff, 0.0)
        underflow = np.where(magnitude < self.format.smallest, self.format.tiny, 0.0)
        return self.format.round(value), error + own + underflow

    def _div(self, a: Ball, b: Ball) -> Ball:
        value, error = _div(a, b)
        overflowed = (
            np.isinf(b[0]) & np.isfinite(b[1]) & np.isfinite(a[0])
        )  # the divisor is beyond the largest number, not infinite
        return value, np.where(overflowed, np.abs(a[0]) / self.format.largest, error)

    def _lerp(self, a: Ball, b: Ball, weight: Ball) -> Ball:
        difference = self._rounded(_sub(b, a))
        first = _add(a, self._rounded(_mul(weight, difference)))
        second = _sub(b, self._rounded(_mul((1 - weight[0], weight[1]), difference)))
        near = weight[0] < 0.5  # as torch does
        return np.where(near, first[0], second[0]), np.where(near, first[1], second[1])


def _stacked(elements: list[Ball]) -> Ball:
    count = max(len(value) for value, _ in elements)
    columns = [(np.broadcast_to(v, (count,)), np.broadcast_to(e, (count,))) for v, e in elements]
    return np.stack([v for v, _ in columns], axis=1), np.stack([e for _, e in columns], axis=1)


_EXACT = frozenset({"min", "max", "where", "lt", "le", "gt", "ge", "eq"})


def _unary(function: str, x: Array, error: Array) -> Ball:
    compute, slope = _UNARY[function]
    value = compute(x)
    grown = np.where(error == 0, 0.0, np.abs(slope(x, value)) * error)
    if function in {"exp", "exp2", "expm1", "sinh", "cosh"}:  # their derivative grows within the error
        grown = np.where(error > 1, np.inf, grown)
    if function == "sqrt":
        grown = np.minimum(grown, np.sqrt(error))
    if function in _SLOW:
        grown = np.where(np.isinf(x), np.inf, grown)
    if function == "softplus":  # torch returns x itself above 20
        grown = grown + np.where(x > 20, np.exp(-np.abs(x)), 0.0)
    return value, grown


_SLOW = frozenset({"sqrt", "rsqrt", "log", "log2", "log10", "log1p", "asinh", "acosh", "lgamma"})
"""Functions that grow so slowly that they are finite for numbers that have overflowed."""


def _sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _elementwise(function: Callable[[float], float]) -> Callable[[Array], Array]:
    def safe(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return lambda x: np.reshape(np.array([safe(float(each)) for each in x.ravel()], dtype=float), x.shape)


_erf, _erfc, _lgamma = _elementwise(math.erf), _elementwise(math.erfc), _elementwise(math.lgamma)
_factorial = _elementwise(lambda x: math.gamma(x + 1))


def _erf_slope(x: Array, _: Array) -> Any:
    return np.exp(-(x**2)) * (2 / math.sqrt(math.pi))


def _digamma(x: Array) -> Any:
    """An upper bound of |digamma|, the slope of lgamma, for positive x."""
    return np.log(np.abs(x) + 1) + 1 / np.abs(x)


def _gelu_slope(x: Array, _: Array) -> Any:
    return 0.5 * _erfc(-x / math.sqrt(2)) + np.abs(x) * np.exp(-x * x / 2)


_Unary = tuple[Callable[[Array], Array], Callable[[Array, Array], Any]]
_UNARY: dict[str, _Unary] = {
    "neg": (np.negative, lambda _x, _v: 1.0),
    "square": (np.square, lambda x, _v: 2 * x),
    "sqrt": (np.sqrt, lambda _x, v: 0.5 / v),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x, v: 0.5 * v / x),
    "abs": (np.abs, lambda _x, _v: 1.0),
    "sign": (np.sign, lambda _x, _v: 0.0),
    "exp": (np.exp, lambda _x, v: v),
    "exp2": (np.exp2, lambda _x, v: v),
    "expm1": (np.expm1, lambda _x, v: v + 1),
    "log": (np.log, lambda x, _v: 1 / x),
    "log2": (np.log2, lambda x, _v: 1.4427 / x),
    "log10": (np.log10, lambda x, _v: 0.4343 / x),
    "log1p": (np.log1p, lambda x, _v: 1 / (1 + x)),
    "sin": (np.sin, lambda x, _v: np.cos(x)),
    "cos": (np.cos, lambda x, _v: np.sin(x)),
    "tan": (np.tan, lambda _x, v: 1 + v * v),
    "asin": (np.arcsin, lambda x, _v: 1 / np.sqrt((1 - x) * (1 + x))),
    "acos": (np.arccos, lambda x, _v: 1 / np.sqrt((1 - x) * (1 + x))),
    "atan": (np.arctan, lambda x, _v: 1 / (1 + x * x)),
    "sinh": (np.sinh, lambda x, _v: np.cosh(x)),
    "cosh": (np.cosh, lambda x, _v: np.sinh(x)),
    "tanh": (np.tanh, lambda x, _v: 4 * np.exp(-2 * np.abs(x))),
    "asinh": (np.arcsinh, lambda x, _v: 1 / np.hypot(1, x)),
    "acosh": (np.arccosh, lambda x, _v: 1 / np.sqrt((x - 1) * (x + 1))),
    "atanh": (np.arctanh, lambda x, _v: 1 / ((1 - x) * (1 + x))),
    "sigmoid": (_sigmoid, lambda x, _v: np.exp(-np.abs(x))),
    "logsigmoid": (lambda x: -np.logaddexp(0, -x), lambda x, _v: _sigmoid(-x)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x, _v: _sigmoid(x)),
    "relu": (lambda x: np.maximum(x, 0), lambda _x, _v: 1.0),
    "gelu": (lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))), _gelu_slope),
    "silu": (lambda x: x * _sigmoid(x), lambda _x, _v: 1.1),
    "erf": (_erf, _erf_slope),
    "erfc": (_erfc, _erf_slope),
    "lgamma": (_lgamma, lambda x, _v: _digamma(x)),
    "factorial": (_factorial, lambda x, v: v * _digamma(x)),
    "floor": (np.floor, lambda _x, _v: 0.0),
    "ceil": (np.ceil, lambda _x, _v: 0.0),
    "round": (np.round, lambda _x, _v: 0.0),
}


def _times(factor: Array, error: Array) -> Array:
    """A factor times an error, where 0 times infinity is 0."""
    return np.where(error == 0, 0.0, np.abs(factor) * error)


def _add(a: Ball, b: Ball) -> Ball:
    value = a[0] + b[0]
    overflowed = np.isinf(value) & (np.sign(a[0]) * np.sign(b[0]) < 0)  # what is left of it is not known
    large = np.minimum(np.abs(a[0]), np.abs(b[0])) > 1e3
    return value, np.where(overflowed & large, np.inf, a[1] + b[1])


def _sub(a: Ball, b: Ball) -> Ball:
    return _add(a, (-b[0], b[1]))


def _mul(a: Ball, b: Ball) -> Ball:
    return a[0] * b[0], _times(a[0], b[1]) + _times(b[0], a[1])


def _div(a: Ball, b: Ball) -> Ball:
    value = a[0] / b[0]
    error = (a[1] + _times(value, b[1])) / np.abs(b[0])
    return value, np.where((a[1] == 0) & (b[1] == 0), 0.0, error)


def _pow(a: Ball, b: Ball) -> Ball:
    value = np.power(a[0], b[0])
    return value, np.abs(value) * (_times(b[0] / a[0], a[1]) + _times(np.log(np.abs(a[0])), b[1]))


def _min(a: Ball, b: Ball) -> Ball:
    return np.minimum(a[0], b[0]), np.where(a[0] <= b[0], a[1], b[1])


def _max(a: Ball, b: Ball) -> Ball:
    return np.maximum(a[0], b[0]), np.where(a[0] >= b[0], a[1], b[1])


def _atan2(a: Ball, b: Ball) -> Ball:
    size = np.hypot(a[0], b[0])
    return np.arctan2(a[0], b[0]), _times(b[0] / size / size, a[1]) + _times(a[0] / size / size, b[1])


def _hypot(a: Ball, b: Ball) -> Ball:
    return np.hypot(a[0], b[0]), a[1] + b[1]


def _logaddexp(a: Ball, b: Ball) -> Ball:
    share = _sigmoid(a[0] - b[0])
    return np.logaddexp(a[0], b[0]), share * a[1] + (1 - share) * b[1]


def _xlogy(a: Ball, b: Ball) -> Ball:
    value, error = _mul(a, _unary("log", *b))
    zero = (a[0] == 0) & ~np.isnan(b[0])
    return np.where(zero, 0.0, value), np.where(zero, 0.0, error)


def _remainder(a: Ball, b: Ball) -> Ball:
    return np.mod(a[0], b[0]), a[1] + np.abs(np.floor(a[0] / b[0])) * b[1]


def _addcdiv(a: Ball, b: Ball, c: Ball) -> Ball:
    return _add(a, _div(b, c))


def _where(condition: Ball, a: Ball, b: Ball) -> Ball:
    return np.where(condition[0] != 0, a[0], b[0]), np.where(condition[0] != 0, a[1], b[1])


def _comparison(compare: Callable[[Array, Array], npt.NDArray[np.bool_]]) -> Callable[[Ball, Ball], Ball]:
    def evaluate(a: Ball, b: Ball) -> Ball:
        value = compare(a[0], b[0]).astype(float)
        return value, np.zeros_like(value)

    return evaluate


_OTHERS: dict[str, Callable[..., Ball]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "pow": _pow,
    "min": _min,
    "max": _max,
    "atan2": _atan2,
    "hypot": _hypot,
    "logaddexp": _logaddexp,
    "xlogy": _xlogy,
    "remainder": _remainder,
    "addcdiv": _addcdiv,
    "where": _where,
    "lt": _comparison(np.less),
    "le": _comparison(np.less_equal),
    "gt": _comparison(np.greater),
    "ge": _comparison(np.greater_equal),
    "eq": _comparison(np.equal),
}


def _sum(unit: float, v: Ball) -> Ball:
    partial = np.abs(np.cumsum(v[0], axis=1)).sum(axis=1)
    return v[0].sum(axis=1), v[1].sum(axis=1) + unit * partial


def _mean(unit: float, v: Ball) -> Ball:
    value, error = _sum(unit, v)
    return value / v[0].shape[1], error / v[0].shape[1]


def _prod(unit: float, v: Ball) -> Ball:
    value = v[0].prod(axis=1)
    relative = (v[1] / np.abs(v[0])).sum(axis=1) + unit * v[0].shape[1]
    underflow = np.where(np.abs(np.cumprod(v[0], axis=1)).min(axis=1) < 2.3e-308, np.inf, 0.0)
    return value, np.abs(value) * relative + underflow


def _var(unit: float, v: Ball) -> Ball:
    mean, error = _mean(unit, v)
    away = v[0] - mean[:, None]
    degrees = max(v[0].shape[1] - 1, 1)
    deviation = error[:, None] + v[1] + unit * np.abs(away)
    return (away**2).sum(axis=1) / degrees, (2 * np.abs(away) * deviation).sum(axis=1) / degrees


def _std(unit: float, v: Ball) -> Ball:
    return _unary("sqrt", *_var(unit, v))


def _norm(unit: float, v: Ball) -> Ball:
    value = np.sqrt((v[0] ** 2).sum(axis=1))
    return value, v[1].sum(axis=1) + unit * value


def _dot(unit: float, v: Ball, w: Ball) -> Ball:
    return _sum(unit, _mul(v, w))


def _logsumexp(unit: float, v: Ball) -> Ball:
    largest = v[0].max(axis=1)
    value = largest + np.log(np.exp(v[0] - largest[:, None]).sum(axis=1))
    return value, v[1].max(axis=1) + unit * np.abs(largest)


def _softmax(unit: float, v: Ball) -> Ball:
    away = v[0] - v[0].max(axis=1, keepdims=True)
    shares = np.exp(away)
    shares = shares / shares.sum(axis=1, keepdims=True)
    return shares, np.where(
        shares == 0, 0.0, shares * (v[1].max(axis=1, keepdims=True) * 2 + unit * (2 + np.abs(away)))
    )


def _log_softmax(unit: float, v: Ball) -> Ball:
    value, error = _logsumexp(unit, (v[0] - v[0].max(axis=1, keepdims=True), v[1]))
    away = v[0] - v[0].max(axis=1, keepdims=True)
    return away - value[:, None], v[1] + error[:, None] + unit * np.abs(away)


def _amax(_unit: float, v: Ball) -> Ball:
    return v[0].max(axis=1), v[1].max(axis=1)


def _amin(_unit: float, v: Ball) -> Ball:
    return v[0].min(axis=1), v[1].max(axis=1)


_REDUCTIONS: dict[str, Callable[..., Ball]] = {
    "sum": _sum,
    "mean": _mean,
    "prod": _prod,
    "var": _var,
    "std": _std,
    "norm": _norm,
    "dot": _dot,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "amax": _amax,
    "amin": _amin,
}
