"""Rational normal form: one fraction with an expanded numerator, over sub-expressions that are not rational.

`1/(x+1) - 2/x + 1/(x-1)` becomes `2/(x·(x+1)·(x-1))`: the terms that cancel are cancelled exactly, before any rounding.
"""

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from functools import reduce

from qa_service.formula.patterns import simplify
from qa_service.formula.sexpr import to_sexpr
from qa_service.formula.tree import Call, Node, Number

Monomial = frozenset[tuple[Node, int]]
"""Sub-expressions with their exponents, which are positive."""
Polynomial = dict[Monomial, Fraction]
"""Monomial → coefficient, which is not zero."""

_MAX_TERMS = 24
_MAX_EXPONENT = 8


class NotRational(Exception):
    """The expression has no normal form within the limits, or divides by zero."""


def collect(tree: Node) -> Node | None:
    """The tree as one fraction of collected terms; None beyond 24 terms or exponent 8, and for a division by zero."""
    try:
        top, bottom = _fraction(tree)
    except NotRational:
        return None
    for factor in tuple(bottom.elements()):
        reduced = _divided(top, dict(factor))
        if reduced is not None:
            top, bottom = reduced, bottom - Counter({factor: 1})
    numerator = _written(top)
    factors = sorted((power(_written(dict(factor)), count) for factor, count in bottom.items()), key=to_sexpr)
    return simplify(Call("div", (numerator, _product(factors))) if factors else numerator)


def _fraction(tree: Node) -> tuple[Polynomial, Counter[frozenset[tuple[Monomial, Fraction]]]]:
    match tree:
        case Number(Fraction() as value):
            return ({frozenset(): value} if value else {}), Counter()
        case Call("add" | "sub" as function, (left, right)):
            return _sum(_fraction(left), _fraction(right), 1 if function == "add" else -1)
        case Call("mul", (left, right)):
            (a, below_a), (b, below_b) = _fraction(left), _fraction(right)
            return _times(a, b), below_a + below_b
        case Call("div", (left, right)):
            (a, below_a), (b, below_b) = _fraction(left), _fraction(right)
            if not b:
                raise NotRational
            above = reduce(_times, (dict(factor) for factor in below_b.elements()), a)
            if len(b) > 1:
                return above, below_a + Counter({frozenset(b.items()): 1})
            ((monomial, constant),) = b.items()
            atoms = Counter({frozenset({(frozenset({(atom, 1)}), Fraction(1))}): count for atom, count in monomial})
            return {key: value / constant for key, value in above.items()}, below_a + atoms
        case Call("neg", (inner,)):
            top, below = _fraction(inner)
            return {key: -value for key, value in top.items()}, below
        case Call("square", (inner,)):
            top, below = _fraction(inner)
            return _times(top, top), below + below
        case Call("pow", (inner, Number(Fraction(denominator=1) as exponent))) if 0 < exponent <= _MAX_EXPONENT:
            top, below = _fraction(inner)
            return reduce(_times, [top] * int(exponent)), Counter(
                {key: count * int(exponent) for key, count in below.items()}
            )
    return {frozenset({(tree, 1)}): Fraction(1)}, Counter()


def _sum(
    first: tuple[Polynomial, Counter[frozenset[tuple[Monomial, Fraction]]]],
    second: tuple[Polynomial, Counter[frozenset[tuple[Monomial, Fraction]]]],
    sign: int,
) -> tuple[Polynomial, Counter[frozenset[tuple[Monomial, Fraction]]]]:
    (a, below_a), (b, below_b) = first, second
    common = below_a | below_b
    a = reduce(_times, (dict(factor) for factor in (common - below_a).elements()), a)
    b = reduce(_times, (dict(factor) for factor in (common - below_b).elements()), b)
    total = dict(a)
    for key, value in b.items():
        total[key] = total.get(key, Fraction(0)) + sign * value
    return {key: value for key, value in total.items() if value}, common


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    made: Polynomial = {}
    for left, first in a.items():
        for right, second in b.items():
            for key, factor in _monomials(left, right).items():
                made[key] = made.get(key, Fraction(0)) + first * second * factor
    if len(made) > _MAX_TERMS:
        raise NotRational
    return {key: value for key, value in made.items() if value}


def _monomials(left: Monomial, right: Monomial) -> Polynomial:
    """The product of two monomials, in which squares of square roots are resolved."""
    exponents: Counter[Node] = Counter(dict(left))
    exponents.update(dict(right))
    if max(exponents.values(), default=0) > _MAX_EXPONENT:
        raise NotRational
    extra: Polynomial = {frozenset(): Fraction(1)}
    for atom, exponent in tuple(exponents.items()):
        if isinstance(atom, Call) and atom.function == "sqrt" and exponent >= 2:
            inside, below = _fraction(atom.arguments[0])
            if below:
                raise NotRational
            exponents[atom] = exponent % 2
            extra = reduce(_times, [inside] * (exponent // 2), extra)
    rest: Polynomial = {frozenset((atom, count) for atom, count in exponents.items() if count): Fraction(1)}
    return rest if extra == {frozenset(): Fraction(1)} else _times(rest, extra)


def _divided(top: Polynomial, factor: Polynomial) -> Polynomial | None:
    """top/factor, if factor is a sub-expression in every term of top, or top is a multiple of it by a constant."""
    if len(factor) == 1:
        (monomial,) = factor
        if top and all(monomial <= _spread(key) for key in top):
            return {_without(key, monomial): value for key, value in top.items()}
        return None
    if not top or top.keys() != factor.keys():
        return None
    ratios = {top[key] / factor[key] for key in top}
    return {frozenset(): ratios.pop()} if len(ratios) == 1 else None


def _spread(key: Monomial) -> Monomial:
    """The sub-expressions of a monomial, each with exponent 1."""
    return frozenset((atom, 1) for atom, _ in key)


def _written(polynomial: Polynomial) -> Node:
    """The polynomial as a tree: the common factor times the sum of the rest."""
    if not polynomial:
        return Number(Fraction(0))
    shared = reduce(_common, polynomial)
    content = Fraction(
        math.gcd(*(value.numerator for value in polynomial.values())),
        math.lcm(*(value.denominator for value in polynomial.values())),
    )
    rest = {_without(key, shared): value / content for key, value in polynomial.items()}
    terms = sorted(rest.items(), key=lambda item: (item[1] < 0, -_degree(item[0]), _spelling(item[0])))
    total = _term(*terms[0])
    for key, value in terms[1:]:
        total = Call("add" if value > 0 else "sub", (total, _term(key, abs(value))))
    factors = [Number(content), *_powers(shared)]
    return simplify(_product([*factors, simplify(total)]))


def _common(left: Monomial, right: Monomial) -> Monomial:
    other = dict(right)
    return frozenset((atom, min(count, other[atom])) for atom, count in left if atom in other)


def _without(key: Monomial, shared: Monomial) -> Monomial:
    taken = dict(shared)
    return frozenset((atom, count - taken.get(atom, 0)) for atom, count in key if count > taken.get(atom, 0))


def _degree(key: Monomial) -> int:
    return sum(count for _, count in key)


def _spelling(key: Monomial) -> str:
    return " ".join(sorted(to_sexpr(atom) for atom, _ in key))


def _term(key: Monomial, value: Fraction) -> Node:
    return simplify(_product([Number(value), *_powers(key)]))


def _powers(key: Monomial) -> list[Node]:
    return [power(atom, count) for atom, count in sorted(key, key=lambda item: to_sexpr(item[0]))]


def power(base: Node, exponent: int) -> Node:
    """base^exponent by products and squares; `exponent` is positive."""
    if exponent == 1:
        return base
    half = power(base, exponent // 2)
    square = Call("square", (half,))
    return Call("mul", (base, square)) if exponent % 2 else square


def _product(factors: Iterable[Node]) -> Node:
    """Factors multiplied from the right, so that a leading number stays in front."""
    one = Number(Fraction(1))
    kept = [factor for factor in factors if factor != one] or [one]
    return reduce(lambda right, left: Call("mul", (left, right)), reversed(kept))
