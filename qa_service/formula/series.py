"""Truncated Laurent series of an expression in one of its variables, at zero and at plus and minus infinity.

Coefficients are exact: fractions, or trees of the other variables. A partial sum is the stable form near the point
where terms of the expression cancel (Hamming 1987, §3.4), and it comes with the first term that it leaves out, which
bounds its error close to the point.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import factorial
from typing import Literal

from qa_service.formula.patterns import simplify
from qa_service.formula.polynomials import collect, power
from qa_service.formula.rounding import TRUNCATED_SERIES
from qa_service.formula.tree import Call, Node, Number, Variable, size, variables

ExpansionPoint = Literal["0", "inf", "-inf"]
Coefficient = Fraction | Node

_ORDER = 12
"""The number of terms that are computed, those that turn out to be zero included."""
_SYMBOLIC_ORDER = 6
"""The number of terms where coefficients contain other variables."""
_MAX_COEFFICIENT_SIZE = 40
"""The largest number of nodes in a coefficient; the series ends before a larger one."""


class _NoSeries(Exception):
    """The expression has no Laurent series here, or none that this module can compute."""


@dataclass(frozen=True, slots=True)
class _Series:
    """The sum of coefficients[k]·t^(start + k), up to terms of order start + _ORDER."""

    start: int
    coefficients: tuple[Coefficient, ...]


def partial_sums(tree: Node, name: str, place: ExpansionPoint) -> Iterator[Node]:
    """Partial sums of the series in the variable `name`, each as `truncated(sum, the first term left out)`."""
    with suppress(_NoSeries, ZeroDivisionError):
        yield from _partial_sums(tree, name, place)


def _partial_sums(tree: Node, name: str, place: ExpansionPoint) -> Iterator[Node]:
    """As `partial_sums`. Raises `_NoSeries` where there is none or its first coefficient is too large."""
    order = _ORDER if len(variables(tree)) == 1 else _SYMBOLIC_ORDER
    found = _Expansion(name, place, order).of(tree)
    terms = [(k, value) for k, value in enumerate(found.coefficients) if value != 0]
    numeric = all(isinstance(value, Fraction) for _, value in terms)
    for count in (2, 4) if numeric else (1, 2):
        if len(terms) > count:
            kept = [*found.coefficients[: terms[count - 1][0] + 1]]
            omitted = [*[Fraction(0)] * terms[count][0], terms[count][1]]
            yield Call(
                TRUNCATED_SERIES,
                (_written(kept, found.start, name, place), _written(omitted, found.start, name, place)),
            )


def _written(coefficients: list[Coefficient], start: int, name: str, place: ExpansionPoint) -> Node:
    """The sum in Horner's form, in steps of t or of t²."""
    x = Variable(name)
    while coefficients and coefficients[0] == 0:
        coefficients, start = coefficients[1:], start + 1
    step = 2 if all(value == 0 for value in coefficients[1::2]) else 1
    inverse = place != "0"
    signs = [Fraction(-1 if place == "-inf" and (start + k) % 2 else 1) for k in range(len(coefficients))]
    kept = [_times(sign, value) for sign, value in zip(signs, coefficients, strict=True)][::step]
    total = _tree(kept[-1])
    for value in kept[-2::-1]:
        inner = Call("div" if inverse else "mul", (total, power(x, step)))
        total = Call("add", (_tree(value), inner if inverse else Call("mul", inner.arguments[::-1])))
    exponent = -start if inverse else start
    if exponent > 0:
        total = Call("mul", (power(x, exponent), total))
    elif exponent < 0:
        total = Call("div", (total, power(x, -exponent)))
    return simplify(total)


def _tree(value: Coefficient) -> Node:
    return Number(value) if isinstance(value, Fraction) else value


def _plain(node: Node) -> Coefficient:
    """A tree as a coefficient, in normal form, so that one that is zero is seen to be."""
    node = simplify(node)
    if not isinstance(node, Number):
        node = collect(node) or node
    if isinstance(node, Number) and isinstance(node.value, Fraction):
        return node.value
    if size(node) > _MAX_COEFFICIENT_SIZE:
        raise _NoSeries
    return node


def _plus(a: Coefficient, b: Coefficient) -> Coefficient:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    return b if a == 0 else a if b == 0 else _plain(Call("add", (_tree(a), _tree(b))))


def _times(a: Coefficient, b: Coefficient) -> Coefficient:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    return Fraction(0) if 0 in (a, b) else _plain(Call("mul", (_tree(a), _tree(b))))


def _quotient(a: Coefficient, b: Coefficient) -> Coefficient:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a / b
    return Fraction(0) if a == 0 else _plain(Call("div", (_tree(a), _tree(b))))


def _series(start: int, values: list[Coefficient]) -> _Series:
    """A series that begins with a term that is not zero."""
    skipped = next((k for k, value in enumerate(values) if value != 0), len(values))
    if skipped == len(values):
        return _Series(0, (Fraction(0),) * _ORDER) if start >= 0 else _Series(start, tuple(values))
    return _Series(start + skipped, tuple(values[skipped:]))


def _constant(value: Coefficient) -> _Series:
    return _Series(0, (value, *(Fraction(0),) * (_ORDER - 1)))


def _is_zero(s: _Series) -> bool:
    return all(value == 0 for value in s.coefficients)


def _add(a: _Series, b: _Series) -> _Series:
    if _is_zero(a) or _is_zero(b):
        return b if _is_zero(a) else a
    start = min(a.start, b.start)
    end = min(a.start + len(a.coefficients), b.start + len(b.coefficients))

    def at(s: _Series, k: int) -> Coefficient:
        return s.coefficients[k - s.start] if s.start <= k < s.start + len(s.coefficients) else Fraction(0)

    return _series(start, [_plus(at(a, k), at(b, k)) for k in range(start, end)])


def _scale(factor: Coefficient, a: _Series) -> _Series:
    return _Series(a.start, tuple(_times(factor, value) for value in a.coefficients))


def _mul(a: _Series, b: _Series) -> _Series:
    length = min(len(a.coefficients), len(b.coefficients))

    def at(k: int, _: list[Coefficient]) -> Coefficient:
        total: Coefficient = Fraction(0)
        for i in range(k + 1):
            total = _plus(total, _times(a.coefficients[i], b.coefficients[k - i]))
        return total

    return _series(a.start + b.start, _as_far_as_possible(at, length))


def _as_far_as_possible(at: Callable[[int, list[Coefficient]], Coefficient], length: int) -> list[Coefficient]:
    """at(0), at(1) … given those before, up to one that is too large. Raises `_NoSeries` if that is the first."""
    made: list[Coefficient] = []
    for k in range(length):
        try:
            made.append(at(k, made))
        except _NoSeries:
            if not made:
                raise
            break
    return made


def _div(a: _Series, b: _Series) -> _Series:
    if not b.coefficients or b.coefficients[0] == 0:
        raise _NoSeries

    def at(k: int, made: list[Coefficient]) -> Coefficient:
        rest = a.coefficients[k]
        for i in range(k):
            rest = _plus(rest, _times(Fraction(-1), _times(made[i], b.coefficients[k - i])))
        return _quotient(rest, b.coefficients[0])

    return _series(a.start - b.start, _as_far_as_possible(at, min(len(a.coefficients), len(b.coefficients))))


def _compose(taylor: tuple[Fraction, ...], inner: _Series) -> _Series:
    """The sum of taylor[k]·inner^k, for a series that vanishes at t = 0."""
    if _is_zero(inner):
        return _constant(taylor[0])
    if inner.start < 1:
        raise _NoSeries
    taylor = taylor[: len(inner.coefficients) + 1]
    total = _constant(taylor[-1])
    for value in reversed(taylor[:-1]):
        total = _add(_mul_full(total, inner), _constant(value))
    return total


def _mul_full(a: _Series, b: _Series) -> _Series:
    return _constant(Fraction(0)) if _is_zero(a) else _mul(a, b)


def _arcsine_coefficient(k: int) -> Fraction:
    half = (k - 1) // 2
    return Fraction(factorial(k - 1), 4**half * factorial(half) ** 2 * k) if k % 2 else Fraction(0)


@cache
def _taylor(function: str) -> tuple[Fraction, ...]:
    """Coefficients of elementary functions at 0."""
    orders = range(_ORDER + 1)
    exponential = [Fraction(1, factorial(k)) for k in orders]
    odd = [Fraction(k % 2) for k in orders]
    turning = [Fraction((1, 1, -1, -1)[k % 4]) for k in orders]  # signs of cos and sin together
    central = [_arcsine_coefficient(k) for k in orders]
    over = [Fraction(1, k) if k else Fraction(0) for k in orders]
    table = {
        "exp": exponential,
        "sin": [a * b * s for a, b, s in zip(exponential, odd, turning, strict=True)],
        "cos": [a * (1 - b) * s for a, b, s in zip(exponential, odd, turning, strict=True)],
        "sinh": [a * b for a, b in zip(exponential, odd, strict=True)],
        "cosh": [a * (1 - b) for a, b in zip(exponential, odd, strict=True)],
        "log1p": [-value if k % 2 == 0 else value for k, value in enumerate(over)],
        "atanh": [a * b for a, b in zip(over, odd, strict=True)],
        "atan": [a * b * s for a, b, s in zip(over, odd, turning, strict=True)],
        "asin": central,
        "asinh": [a * s for a, s in zip(central, turning, strict=True)],
    }
    return tuple(table[function])


def _binomial(exponent: Fraction) -> tuple[Fraction, ...]:
    made = [Fraction(1)]
    for k in range(1, _ORDER + 1):
        made.append(made[-1] * (exponent - k + 1) / k)
    return tuple(made)


class _Expansion:
    """The series of expressions in t: x itself, 1/x or −1/x, the last two positive."""

    def __init__(self, name: str, place: ExpansionPoint, order: int) -> None:
        self._name = name
        self._place = place
        self._order = order

    def of(self, tree: Node) -> _Series:
        """The series of a tree. Raises `_NoSeries`."""
        match tree:
            case Number(Fraction() as value):
                return _constant(value)
            case Variable(name) if name == self._name:
                sign = Fraction(-1 if self._place == "-inf" else 1)
                return _Series(1 if self._place == "0" else -1, (sign, *(Fraction(0),) * (self._order - 1)))
            case Call(function, arguments) if self._name in variables(tree):
                rule = _RULES.get(function)
                if rule is None:
                    if function in _TAYLOR_ONLY:
                        return _compose(_taylor(function), self.of(arguments[0]))
                    raise _NoSeries
                return rule(self, *arguments)
            case Number():
                raise _NoSeries
        return _constant(tree)

    def power(self, base: Node, exponent: Node) -> _Series:
        """base^exponent; for an exponent that is no number, as exp(exponent·log(base))."""
        if not (isinstance(exponent, Number) and isinstance(exponent.value, Fraction)):
            return self.of(Call("exp", (Call("mul", (exponent, Call("log", (base,)))),)))
        return self._power(self.of(base), exponent.value)

    def _power(self, inner: _Series, exponent: Fraction) -> _Series:
        leading = inner.coefficients[0] if inner.coefficients else Fraction(0)
        start = inner.start * exponent
        if leading == 0 or start.denominator != 1:
            raise _NoSeries
        if exponent.denominator != 1 and (
            (inner.start != 0 and self._place == "0") or not (isinstance(leading, Fraction) and leading > 0)
        ):
            raise _NoSeries
        rest = _constant(Fraction(-1)), _scale(_quotient(Fraction(1), leading), _Series(0, inner.coefficients))
        made = _compose(_binomial(exponent), _add(*rest))
        factor = _plain(Call("pow", (_tree(leading), Number(exponent))))
        return _Series(made.start + int(start), _scale(factor, made).coefficients)

    def split(self, inner: _Series) -> tuple[Coefficient, _Series]:
        """The constant term, and the series without it. Raises `_NoSeries` at a pole."""
        if inner.start < 0 and not _is_zero(inner):
            raise _NoSeries
        constant = inner.coefficients[0] if inner.start == 0 else Fraction(0)
        return constant, _add(inner, _constant(_times(Fraction(-1), constant))) if constant != 0 else inner

    def exp(self, argument: Node) -> _Series:
        constant, rest = self.split(self.of(argument))
        made = _compose(_taylor("exp"), rest)
        return made if constant == 0 else _scale(_plain(Call("exp", (_tree(constant),))), made)

    def log(self, argument: Node) -> _Series:
        inner = self.of(argument)
        if inner.start != 0 or inner.coefficients[0] == 0:
            raise _NoSeries
        leading = inner.coefficients[0]
        rest = _add(_scale(_quotient(Fraction(1), leading), inner), _constant(Fraction(-1)))
        made = _compose(_taylor("log1p"), rest)
        return made if leading == 1 else _add(made, _constant(_plain(Call("log", (_tree(leading),)))))

    def circular(self, argument: Node, function: str) -> _Series:
        """The series of sin or cos (`function`) of a series with any constant term."""
        constant, rest = self.split(self.of(argument))
        sine, cosine = _compose(_taylor("sin"), rest), _compose(_taylor("cos"), rest)
        if constant == 0:
            return sine if function == "sin" else cosine
        sin_c, cos_c = (_plain(Call(name, (_tree(constant),))) for name in ("sin", "cos"))
        if function == "sin":
            return _add(_scale(sin_c, cosine), _scale(cos_c, sine))
        return _add(_scale(cos_c, cosine), _scale(_times(Fraction(-1), sin_c), sine))


_TAYLOR_ONLY = frozenset({"sinh", "cosh", "atanh", "atan", "asin", "asinh"})


def _call(function: str, *arguments: Node) -> Node:
    return Call(function, arguments)


_ONE, _TWO = Number(Fraction(1)), Number(Fraction(2))
_RULES: dict[str, Callable[..., _Series]] = {
    "add": lambda e, a, b: _add(e.of(a), e.of(b)),
    "sub": lambda e, a, b: _add(e.of(a), _scale(Fraction(-1), e.of(b))),
    "mul": lambda e, a, b: _mul(e.of(a), e.of(b)),
    "div": lambda e, a, b: _div(e.of(a), e.of(b)),
    "neg": lambda e, a: _scale(Fraction(-1), e.of(a)),
    "square": lambda e, a: _mul(e.of(a), e.of(a)),
    "sqrt": lambda e, a: e.power(a, Number(Fraction(1, 2))),
    "rsqrt": lambda e, a: e.power(a, Number(Fraction(-1, 2))),
    "pow": lambda e, a, b: e.power(a, b),
    "exp": lambda e, a: e.exp(a),
    "expm1": lambda e, a: _add(e.exp(a), _constant(Fraction(-1))),
    "log": lambda e, a: e.log(a),
    "log1p": lambda e, a: e.log(_call("add", _ONE, a)),
    "sin": lambda e, a: e.circular(a, "sin"),
    "cos": lambda e, a: e.circular(a, "cos"),
    "tan": lambda e, a: _div(e.circular(a, "sin"), e.circular(a, "cos")),
    "tanh": lambda e, a: _div(_compose(_taylor("sinh"), e.of(a)), _compose(_taylor("cosh"), e.of(a))),
    "sigmoid": lambda e, a: _div(_constant(Fraction(1)), _add(_constant(Fraction(1)), e.exp(_call("neg", a)))),
    "softplus": lambda e, a: e.log(_call("add", _ONE, _call("exp", a))),
}
