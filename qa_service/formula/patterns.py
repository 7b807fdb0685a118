"""Patterns over expression trees: a tree whose variables stand for any sub-tree, and rules made of two of them.

In a pattern the variables m and n match numbers only; every other name matches any node, the same name the same node.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from qa_service.formula.sexpr import from_sexpr
from qa_service.formula.tree import Call, Node, Number, Variable, negative, substitute

COMMUTATIVE = frozenset({"add", "mul", "max", "min", "hypot", "logaddexp", "eq", "dot"})
"""Functions of two arguments that may be swapped, so that a pattern is tried in both orders."""
NUMBER_VARIABLES = frozenset({"m", "n"})
"""Variables of a pattern that match numbers only."""
_LARGEST_INTEGER = 10**40
"""Bound of the numerator and denominator of a folded constant; constants beyond it are not folded."""


@dataclass(frozen=True, slots=True)
class RewriteRule:
    """A rewrite: `before` equals `after` wherever both are defined."""

    name: str
    before: Node
    after: Node
    source: str
    """Where the identity is recommended or proved."""


def rule(name: str, before: str, after: str, source: str) -> RewriteRule:
    """A rule whose sides are S-expressions."""
    return RewriteRule(name, from_sexpr(before), from_sexpr(after), source)


def match(pattern: Node, tree: Node, bound: dict[str, Node] | None = None) -> Iterator[dict[str, Node]]:
    """Every way to make `pattern` equal to `tree`: name → sub-tree. `bound` holds names that are bound already."""
    bound = bound or {}
    match pattern:
        case Variable(name):
            if name in bound:
                if bound[name] == tree:
                    yield bound
            elif name not in NUMBER_VARIABLES or isinstance(tree, Number):
                yield {**bound, name: tree}
        case Number():
            if pattern == tree:
                yield bound
        case Call(function, arguments):
            if not isinstance(tree, Call) or tree.function != function or len(tree.arguments) != len(arguments):
                return
            yield from _match_all(arguments, tree.arguments, bound)
            if function in COMMUTATIVE and tree.arguments[0] != tree.arguments[1]:
                yield from _match_all(arguments, tree.arguments[::-1], bound)


def _match_all(
    patterns: tuple[Node, ...], trees: tuple[Node, ...], bound: dict[str, Node]
) -> Iterator[dict[str, Node]]:
    if not patterns:
        yield bound
        return
    for first in match(patterns[0], trees[0], bound):
        yield from _match_all(patterns[1:], trees[1:], first)


def apply_rule(one: RewriteRule, tree: Node) -> Iterator[Node]:
    """Every tree that the rule makes of `tree`, at its root, simplified."""
    for bound in match(one.before, tree):
        yield simplify(substitute(one.after, bound))


def simplify(tree: Node) -> Node:
    """An equal tree with constants folded exactly, and without + 0, · 1, double signs; squares as `square`."""
    if not isinstance(tree, Call):
        return tree
    arguments = tuple(simplify(argument) for argument in tree.arguments)
    made = Call(tree.function, arguments)
    if len(arguments) == 1:
        return _simplify_unary(made, arguments[0])
    if len(arguments) == 2:
        return _simplify_binary(made, *arguments)
    return made


def _simplify_unary(tree: Call, inner: Node) -> Node:
    value = _exact(inner)
    match tree.function, inner:
        case "neg", _ if value is not None:
            return negative(inner)
        case "neg", Call("neg", (inside,)):
            return inside
        case "neg", Call("sub", (left, right)):
            return Call("sub", (right, left))
        case "neg", Call("mul" | "div" as function, (Number() as left, right)):
            return simplify(Call(function, (negative(left), right)))
        case "neg", Call("div", (left, Number() as right)):
            return simplify(Call("div", (left, negative(right))))
        case (("square" | "abs" | "cosh" | "cos"), Call("neg", (inside,))):
            return Call(tree.function, (inside,))
        case "square", Call("sqrt", (inside,)):
            return inside
        case "abs", _ if is_nonnegative(inner):
            return inner
        case "square", _ if value is not None and abs(value) < _LARGEST_INTEGER:
            return Number(value * value)
        case "sqrt", _ if value in {0, 1}:
            return inner
        case (("exp" | "expm1" | "log" | "log1p" | "sin" | "tan" | "sinh" | "tanh"), Number(0 | 1)):
            return _AT_ZERO_OR_ONE.get((tree.function, inner.value), tree)
    return tree


_NONNEGATIVE = frozenset(
    {"square", "sqrt", "abs", "exp", "exp2", "cosh", "sigmoid", "softplus", "hypot", "norm", "softmax", "var", "std",
     "relu", "erfc", "acos"}
)  # fmt: skip


def is_nonnegative(tree: Node) -> bool:
    """Whether the value cannot be negative, as far as the outermost operations tell."""
    match tree:
        case Number(value):
            return value >= 0
        case Call("add" | "mul" | "div" | "sum" | "mean" | "prod" | "amax", arguments):
            return all(is_nonnegative(argument) for argument in arguments)
        case Call(function):
            return function in _NONNEGATIVE
    return False


_AT_ZERO_OR_ONE: dict[tuple[str, Fraction | float], Node] = {
    ("exp", 0): Number(Fraction(1)),
    ("expm1", 0): Number(Fraction(0)),
    ("log", 1): Number(Fraction(0)),
    ("log1p", 0): Number(Fraction(0)),
    ("sin", 0): Number(Fraction(0)),
    ("tan", 0): Number(Fraction(0)),
    ("sinh", 0): Number(Fraction(0)),
    ("tanh", 0): Number(Fraction(0)),
}


def _exact(node: Node) -> Fraction | None:
    return node.value if isinstance(node, Number) and isinstance(node.value, Fraction) else None


def _simplify_binary(tree: Call, left: Node, right: Node) -> Node:
    a, b = _exact(left), _exact(right)
    if a is not None and b is not None:
        folded = _fold(tree.function, a, b)
        if folded is not None and max(abs(folded.numerator), folded.denominator) < _LARGEST_INTEGER:
            return Number(folded)
    match tree.function:
        case "add":
            return _simplify_sum(tree, left, right, a, b)
        case "sub":
            return _simplify_difference(tree, left, right, a, b)
        case "mul":
            return _simplify_product(tree, left, right, a, b)
        case "div":
            return _simplify_quotient(tree, left, right, a, b)
        case "pow":
            return _simplify_power(tree, left, b)
    return tree


def _fold(function: str, a: Fraction, b: Fraction) -> Fraction | None:
    match function:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "div" if b:
            return a / b
        case "pow" if b.denominator == 1 and abs(b) <= 8 and (a or b > 0):
            return Fraction(a ** int(b))
    return None


def _simplify_sum(tree: Call, left: Node, right: Node, a: Fraction | None, b: Fraction | None) -> Node:
    if a == 0:
        return right
    if b == 0:
        return left
    match left, right:
        case _, Call("neg", (inside,)):
            return Call("sub", (left, inside))
        case Call("neg", (inside,)), _:
            return Call("sub", (right, inside))
        case Call("mul", (Number(Fraction() as factor), inside)), _ if factor < 0:
            return Call("sub", (right, simplify(Call("mul", (Number(-factor), inside)))))
        case _, Call("mul", (Number(Fraction() as factor), inside)) if factor < 0:
            return Call("sub", (left, simplify(Call("mul", (Number(-factor), inside)))))
    if left == right:
        return simplify(Call("mul", (Number(Fraction(2)), left)))
    return tree


def _simplify_difference(tree: Call, left: Node, right: Node, a: Fraction | None, b: Fraction | None) -> Node:
    if a == 0:
        return simplify(Call("neg", (right,)))
    if b == 0:
        return left
    match right:
        case Call("neg", (inside,)):
            return simplify(Call("add", (left, inside)))
        case Call("mul", (Number(Fraction() as factor), inside)) if factor < 0:
            return Call("add", (left, simplify(Call("mul", (Number(-factor), inside)))))
    return Number(Fraction(0)) if left == right else tree


def _simplify_product(tree: Call, left: Node, right: Node, a: Fraction | None, b: Fraction | None) -> Node:
    if a is None and b is not None:
        return _simplify_product(Call("mul", (right, left)), right, left, b, a)
    if a in {0, 1}:
        return left if a == 0 else right
    if a == -1:
        return simplify(Call("neg", (right,)))
    match left, right:
        case Number(Fraction()), Call("mul", (Number(Fraction() as second), inside)) if a is not None:
            return simplify(Call("mul", (Number(a * second), inside)))
        case Number(Fraction()), Call("div", (Number(Fraction() as second), inside)) if a is not None:
            return simplify(Call("div", (Number(a * second), inside)))
        case Number(Fraction()), Call("div", (inside, Number(Fraction() as second))) if a is not None and second:
            return simplify(Call("mul", (Number(a / second), inside)))
        case Number(Fraction()), Call("neg", (inside,)) if a is not None:
            return simplify(Call("mul", (Number(-a), inside)))
        case Call("neg", (first,)), Call("neg", (inside,)):
            return simplify(Call("mul", (first, inside)))
        case Call("neg", (first,)), _:
            return Call("neg", (simplify(Call("mul", (first, right))),))
        case _, Call("neg", (inside,)):
            return Call("neg", (simplify(Call("mul", (left, inside))),))
    return Call("square", (left,)) if left == right else tree


def _simplify_quotient(tree: Call, left: Node, right: Node, a: Fraction | None, b: Fraction | None) -> Node:
    if b == 1 or (a == 0 and b != 0):
        return left
    if b == -1:
        return simplify(Call("neg", (left,)))
    match left, right:
        case Call("mul", (Number(Fraction() as factor), inside)), Number(Fraction()) if b:
            return simplify(Call("mul", (Number(factor / b), inside)))
        case Call("neg", (first,)), Call("neg", (inside,)):
            return simplify(Call("div", (first, inside)))
        case Number(Fraction()), Call("neg", (inside,)):
            return simplify(Call("div", (negative(left), inside)))
        case Call("neg", (first,)), Number(Fraction()):
            return simplify(Call("div", (first, negative(right))))
        case Call("neg", (first,)), _:
            return Call("neg", (simplify(Call("div", (first, right))),))
        case _, Call("neg", (inside,)):
            return Call("neg", (simplify(Call("div", (left, inside))),))
        case _, Call("div", (Number(1), inside)):
            return simplify(Call("mul", (left, inside)))
    return Number(Fraction(1)) if left == right else tree


_POWERS = {Fraction(2): "square", Fraction(1, 2): "sqrt"}


def _simplify_power(tree: Call, base: Node, exponent: Fraction | None) -> Node:
    if exponent == 1:
        return base
    if exponent == 0:
        return Number(Fraction(1))
    if exponent == -1:
        return simplify(Call("div", (Number(Fraction(1)), base)))
    name = _POWERS.get(exponent) if exponent is not None else None
    return Call(name, (base,)) if name else tree
