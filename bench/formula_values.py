"""Values of formulas for the benchmark: in torch, rounded after each operation, and exactly, by mpmath."""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import torch

from qa_service.formula.functions import FUNCTIONS
from qa_service.formula.rounding import Array
from qa_service.formula.tree import Call, Node, Number, Variable

TORCH_DTYPES = {"float64": torch.float64, "float32": torch.float32}
_INTEGERS = {"float64": np.int64, "float32": np.int32}
_FLOATS: dict[str, Any] = {"float64": np.float64, "float32": np.float32}


def torch_values(tree: Node, points: Mapping[str, Array], dtype: str) -> Array:
    """The formula's values at points, computed by torch in this format."""
    variables = {name: torch.tensor(values, dtype=TORCH_DTYPES[dtype]) for name, values in points.items()}
    count = len(next(iter(points.values())))
    value = _torch_value(tree, variables, TORCH_DTYPES[dtype]).to(torch.float64)
    return np.asarray(value.expand(count).numpy() if value.ndim == 0 else value.numpy())


def _torch_value(tree: Node, variables: Mapping[str, Any], dtype: Any) -> Any:
    match tree:
        case Number(value):
            return torch.tensor(_float(value), dtype=dtype)
        case Variable(name):
            return variables[name]
        case Call("vector", elements):
            return torch.stack(
                torch.broadcast_tensors(*(_torch_value(each, variables, dtype) for each in elements)), dim=-1
            )
        case Call("item", (vector, Number(index))):
            return _torch_value(vector, variables, dtype)[..., int(index)]
        case Call(function, arguments):
            if FUNCTIONS[function].kind == "constant":
                return torch.tensor({"pi": math.pi, "e": math.e}[function], dtype=dtype)
            values = [_torch_value(each, variables, dtype) for each in arguments]
            return _TORCH.get(function, getattr(torch, function, None))(*values)  # type: ignore[misc]
    raise AssertionError(tree)


def _float(value: Fraction | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


_F = torch.nn.functional
_TORCH: dict[str, Callable[..., Any]] = {
    "min": torch.minimum,
    "max": torch.maximum,
    "logsigmoid": _F.logsigmoid,
    "softplus": _F.softplus,
    "relu": torch.relu,
    "gelu": _F.gelu,
    "silu": _F.silu,
    "factorial": lambda x: torch.exp(torch.lgamma(x + 1)),
    "softmax": lambda v: torch.softmax(v, -1),
    "log_softmax": lambda v: torch.log_softmax(v, -1),
    "logsumexp": lambda v: torch.logsumexp(v, -1),
    "sum": lambda v: v.sum(-1, keepdim=False),
    "mean": lambda v: v.mean(-1),
    "prod": lambda v: v.prod(-1),
    "var": lambda v: v.var(-1),
    "std": lambda v: v.std(-1),
    "norm": lambda v: torch.linalg.vector_norm(v, dim=-1),
    "dot": lambda v, w: (v * w).sum(-1),
    "amax": lambda v: v.amax(-1),
    "amin": lambda v: v.amin(-1),
}


class UndefinedValue(Exception):
    """The exact value is not a real number, or not finite."""


def exact_value(tree: Node, point: Mapping[str, float]) -> Any:
    """The value at a point as an mpf, right to more digits than a float64 has. Raises `UndefinedValue`.

    Every node carries a bound of its error, from its arguments' by differences of the function itself; the precision is
    doubled until the bound at the root is far below the value, so that no cancellation or absorbed addend passes.
    """
    precision = 90
    while precision < 6_000:
        with mpmath.workprec(precision):
            try:
                value, error = _bounded(tree, point, mpmath.mpf(2) ** (6 - precision))
            except (ZeroDivisionError, ValueError, OverflowError, TypeError, ArithmeticError) as problem:
                raise UndefinedValue from problem
            if error is not None and error <= max(abs(value) * _ENOUGH, _NOTHING):
                return value
        precision *= 2
    raise UndefinedValue


_ENOUGH = mpmath.mpf(2) ** -70
_NOTHING = mpmath.mpf(2) ** -1200
"""An error bound far below the smallest float64: small enough even for an exact value of 0."""
_Bounded = tuple[Any, Any]
"""A value, or a list of them, and the bound of its error, None where the precision does not suffice."""


def _bounded(tree: Node, point: Mapping[str, float], unit: Any) -> _Bounded:
    match tree:
        case Number(Fraction() as value):
            made = mpmath.mpf(value.numerator) / value.denominator
            return made, mpmath.mpf(0) if value.denominator & (value.denominator - 1) == 0 else abs(made) * unit
        case Number():
            raise UndefinedValue
        case Variable(name):
            return mpmath.mpf(point[name]), mpmath.mpf(0)
        case Call("where", (Call(compare, sides), first, second)):
            (left, _), (right, _) = (_bounded(side, point, unit) for side in sides)
            return _bounded(first if _COMPARE[compare](left, right) else second, point, unit)
        case Call(function, arguments):
            parts = [_bounded(each, point, unit) for each in arguments]
            if any(error is None for _, error in parts):
                return parts[0][0], None
            return _call_bounded(function, parts, unit)
    raise AssertionError(tree)


def _call_bounded(function: str, parts: list[_Bounded], unit: Any) -> _Bounded:
    values, errors = [value for value, _ in parts], [error for _, error in parts]
    if function in {"add", "sub"}:
        value = _EXACT[function](*values)
        return value, errors[0] + errors[1] + abs(value) * unit
    if function == "mul":
        value = values[0] * values[1]
        grown = abs(values[0]) * errors[1] + (abs(values[1]) + errors[1]) * errors[0]
        return value, grown + abs(value) * unit
    if errors and function in _NEEDS_SIGN and abs(values[-1]) <= errors[-1] and errors[-1]:
        return values[-1], None  # not known whether it is zero or negative
    value = _EXACT[function](*values)
    if not isinstance(value, mpmath.mpf) or not mpmath.isfinite(value):
        raise UndefinedValue
    bound = abs(value) * unit * 8
    for position, error in enumerate(errors):
        if error:
            moved = [*values]
            moved[position] += error
            near = _EXACT[function](*moved)
            if not isinstance(near, mpmath.mpf):
                return value, None
            bound += 2 * abs(near - value)
    return value, bound


_NEEDS_SIGN = frozenset({"div", "sqrt", "log", "rsqrt"})


def exact_vector_value(tree: Node, point: Mapping[str, Any], precision: int = 4000) -> Any:
    """The value of a formula with vectors, at a precision that suffices for moderate inputs. Raises
    `UndefinedValue`.
    """
    with mpmath.workprec(precision):
        try:
            value = _exact_value(tree, point)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError) as error:
            raise UndefinedValue from error
        return value


def _exact_value(tree: Node, point: Mapping[str, Any]) -> Any:
    match tree:
        case Number(Fraction() as value):
            return mpmath.mpf(value.numerator) / value.denominator
        case Number(value):
            return mpmath.mpf(value)
        case Variable(name):
            given = point[name]
            return [mpmath.mpf(each) for each in given] if isinstance(given, list) else mpmath.mpf(given)
        case Call("vector", elements):
            return [_exact_value(each, point) for each in elements]
        case Call("item", (vector, Number(index))):
            return _exact_value(vector, point)[int(index)]
        case Call("where", (Call(compare, sides), first, second)):
            left, right = (_exact_value(side, point) for side in sides)
            return _exact_value(first if _COMPARE[compare](left, right) else second, point)
        case Call(function, arguments):
            values = [_exact_value(each, point) for each in arguments]
            if FUNCTIONS[function].kind == "elementwise" and any(isinstance(value, list) for value in values):
                length = max(len(value) for value in values if isinstance(value, list))
                columns = [value if isinstance(value, list) else [value] * length for value in values]
                return [_real(_EXACT[function](*row)) for row in zip(*columns, strict=True)]
            return _real(_EXACT[function](*values))
    raise AssertionError(tree)


def _real(value: Any) -> Any:
    if isinstance(value, mpmath.mpc) or (isinstance(value, mpmath.mpf) and not mpmath.isfinite(value)):
        raise UndefinedValue
    return value


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
}
_m = mpmath


def _mean(v: list[Any]) -> Any:
    return _m.fsum(v) / len(v)


def _var(v: list[Any]) -> Any:
    mean = _mean(v)
    return _m.fsum((x - mean) ** 2 for x in v) / (len(v) - 1)


def _softmax(v: list[Any]) -> list[Any]:
    total = _m.fsum(_exp(x) for x in v)
    return [_exp(x) / total for x in v]


def _power_of(a: Any, b: Any) -> Any:
    if a == 0 and b <= 0:
        raise UndefinedValue
    if abs(b) < 1024 or a <= 0:
        return _m.power(a, b)
    with _m.workprec(_m.mp.prec + _m.mag(b) + 20):  # where mpmath multiplies as often as the exponent says
        exponent = b * _m.log(a)
    return _exp(exponent)


def _exp(a: Any) -> Any:
    """e^a; for large a from its remainder by log 2, where mpmath raises e to a power of many digits."""
    if abs(a) < 1024 or not _m.isfinite(a):
        return _m.exp(a)
    precision = _m.mp.prec
    with _m.workprec(precision + _m.mag(a) + 20):
        whole = _m.nint(a / _m.ln2)
        rest = a - whole * _m.ln2
    return _m.ldexp(_m.exp(rest), int(whole))


_EXACT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "pow": _power_of,
    "square": lambda a: a * a,
    "sqrt": _m.sqrt,
    "rsqrt": lambda a: 1 / _m.sqrt(a),
    "abs": abs,
    "sign": _m.sign,
    "exp": _exp,
    "exp2": lambda a: _m.power(2, a),
    "expm1": lambda a: _exp(a) - 1,
    "log": _m.log,
    "log2": lambda a: _m.log(a) / _m.log(2),
    "log10": lambda a: _m.log(a) / _m.log(10),
    "log1p": lambda a: _m.log(1 + a),
    "sin": _m.sin,
    "cos": _m.cos,
    "tan": _m.tan,
    "asin": _m.asin,
    "acos": _m.acos,
    "atan": _m.atan,
    "atan2": _m.atan2,
    "sinh": _m.sinh,
    "cosh": _m.cosh,
    "tanh": _m.tanh,
    "asinh": _m.asinh,
    "acosh": _m.acosh,
    "atanh": _m.atanh,
    "sigmoid": lambda a: 1 / (1 + _exp(-a)),
    "logsigmoid": lambda a: -_m.log(1 + _exp(-a)),
    "softplus": lambda a: _m.log(1 + _exp(a)),
    "relu": lambda a: max(a, _m.mpf(0)),
    "gelu": lambda a: a * _m.erfc(-a / _m.sqrt(2)) / 2,
    "silu": lambda a: a / (1 + _exp(-a)),
    "erf": _m.erf,
    "erfc": _m.erfc,
    "lgamma": lambda a: _m.log(abs(_m.gamma(a))),
    "factorial": _m.factorial,
    "floor": _m.floor,
    "ceil": _m.ceil,
    "round": _m.nint,
    "min": min,
    "max": max,
    "hypot": lambda a, b: _m.sqrt(a * a + b * b),
    "logaddexp": lambda a, b: _m.log(_exp(a) + _exp(b)),
    "xlogy": lambda a, b: a * _m.log(b) if a else _m.mpf(0),
    "remainder": lambda a, b: a - b * _m.floor(a / b),
    "lerp": lambda a, b, w: a + w * (b - a),
    "addcdiv": lambda a, b, c: a + b / c,
    "pi": lambda: +_m.pi,
    "e": lambda: +_m.e,
    "softmax": _softmax,
    "log_softmax": lambda v: [_m.log(x) for x in _softmax(v)],
    "logsumexp": lambda v: _m.log(_m.fsum(_exp(x) for x in v)),
    "sum": _m.fsum,
    "mean": _mean,
    "prod": _m.fprod,
    "var": _var,
    "std": lambda v: _m.sqrt(_var(v)),
    "norm": lambda v: _m.sqrt(_m.fsum(x * x for x in v)),
    "dot": lambda v, w: _m.fsum(x * y for x, y in zip(v, w, strict=True)),
    "amax": max,
    "amin": min,
}


def round_to_format(value: Any, dtype: str) -> float:
    """The nearest number of the format, ±inf beyond its range."""
    return float(_FLOATS[dtype](float(value))) if dtype == "float64" else _round_to_float32(value)


def _round_to_float32(value: Any) -> float:
    with np.errstate(all="ignore"):
        return float(np.float32(float(value)))  # the double rounding is an error of half an ulp at most


def bits_of_error(values: Array, right: Array, dtype: str) -> Array:
    """log2(1 + the numbers of the format between value and right); the format's width for nan (Herbie, PLDI 2015)."""
    width = 64.0 if dtype == "float64" else 32.0
    distance = np.abs(_ordinal(values, dtype) - _ordinal(right, dtype))
    return np.where(np.isnan(values), width, np.log2(1 + distance.astype(float)))


def _ordinal(values: Array, dtype: str) -> npt.NDArray[Any]:
    """The position of each number among all of its format, 0 for both zeros."""
    whole = values.astype(_FLOATS[dtype]).view(_INTEGERS[dtype]).astype(object if dtype == "float64" else np.int64)
    lowest = -(2**63) if dtype == "float64" else -(2**31)
    return np.where(whole < 0, lowest - whole, whole)


def bit_patterns(random: np.random.Generator, count: int, dtype: str) -> Array:
    """Finite numbers of the format, each bit pattern as likely as any other."""
    unsigned: Any = np.uint64 if dtype == "float64" else np.uint32
    bits = random.integers(0, 2 ** (64 if dtype == "float64" else 32), 2 * count, dtype=unsigned)
    values = bits.view(_FLOATS[dtype])
    return np.asarray(values[np.isfinite(values)][:count], dtype=float)
