"""Expression trees: immutable values with three kinds of node.

A *canonical* tree, as `parse_formula` gives it, has no `neg` of a non-zero number, since −3 is a `Number`; −0 remains
`neg` of 0, which a rational number cannot tell from 0.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A constant: exact as a `Fraction`, so that 0.1 is one tenth, or one of the floats inf, −inf and nan."""

    value: Fraction | float

    def __post_init__(self) -> None:
        if isinstance(self.value, Fraction):
            return
        if isinstance(self.value, int) or math.isfinite(self.value):
            object.__setattr__(self, "value", Fraction(self.value))
        elif math.isnan(self.value):
            object.__setattr__(self, "value", math.nan)  # one object, so that equal trees compare equal


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that stands for a number."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table in `functions` applied to arguments; a constant such as pi has none."""

    function: str
    arguments: tuple["Node", ...]


Node = Number | Variable | Call


def nodes(tree: Node) -> Iterator[Node]:
    """Every node, each before its arguments, from left to right."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, Call):
            pending.extend(reversed(node.arguments))


def size(tree: Node) -> int:
    """The number of nodes."""
    return sum(1 for _ in nodes(tree))


def depth(tree: Node) -> int:
    """The number of nodes on the longest way from the root to a leaf."""
    deepest = 0
    pending = [(tree, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        if isinstance(node, Call):
            pending.extend((argument, level + 1) for argument in node.arguments)
    return deepest


def variables(tree: Node) -> tuple[str, ...]:
    """The names of the variables, each once, in the order of their first occurrence."""
    return tuple(dict.fromkeys(node.name for node in nodes(tree) if isinstance(node, Variable)))


def transform(tree: Node, change: Callable[[Node], Node]) -> Node:
    """The tree with `change` applied to every node, arguments first. Recursive: as deep as the tree."""
    if isinstance(tree, Call):
        tree = Call(tree.function, tuple(transform(argument, change) for argument in tree.arguments))
    return change(tree)


def substitute(tree: Node, values: Mapping[str, Node]) -> Node:
    """The tree with variables replaced by other trees, by their names; those not named in `values` remain."""
    return transform(tree, lambda node: values.get(node.name, node) if isinstance(node, Variable) else node)


def negative(node: Node) -> Node:
    """−node in canonical form."""
    if isinstance(node, Number) and node.value not in (0, math.nan):
        return Number(-node.value)
    return Call("neg", (node,))
