"""FPCore, the format of FPBench: reads the arithmetic that its textbook problems use into our expression trees."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from qa_service.formula.tree import Call, Node, Number, Variable, negative

_NAMES = {"+": "add", "-": "sub", "*": "mul", "/": "div", "fabs": "abs", "fmin": "min", "fmax": "max"}
_COMPARE = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
            "==": lambda a, b: a == b, "!=": lambda a, b: a != b}  # fmt: skip
Nested = str | list["Nested"]


@dataclass(frozen=True, slots=True)
class FPCore:
    """A problem of the benchmark suite: a formula, and where its variables lie."""

    name: str
    tree: Node
    precondition: Nested

    def holds(self, point: dict[str, float]) -> bool:
        """Whether the precondition holds at a point, in exact arithmetic."""
        return bool(_condition(self.precondition, {name: Fraction(value) for name, value in point.items()}))


def read_problems(path: Path) -> list[FPCore]:
    """The FPCores of a file."""
    problems = []
    for each in _nested(path.read_text("utf-8")):
        assert isinstance(each, list)
        properties = dict(zip(each[2:-1:2], each[3:-1:2], strict=True)) if len(each) > 3 else {}
        name = str(properties.get(":name", "")).strip('"')
        problems.append(FPCore(name, _tree(each[-1]), properties.get(":pre", "TRUE")))
    return problems


def _nested(text: str) -> list[Nested]:
    text = re.sub(r";[^\n]*", "", text)
    stack: list[list[Nested]] = [[]]
    for word in re.findall(r'"[^"]*"|[()]|[^\s()]+', text):
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    return stack[0]


def _tree(expression: Nested) -> Node:
    if isinstance(expression, str):
        return Number(Fraction(expression)) if re.match(r"[-+]?[.\d]", expression) else Variable(expression)
    operator, *arguments = expression
    trees = [_tree(argument) for argument in arguments]
    if operator == "-" and len(trees) == 1:
        return negative(trees[0])
    assert isinstance(operator, str)
    name = _NAMES.get(operator, operator)
    made = Call(name, tuple(trees[:2])) if len(trees) > 1 else Call(name, tuple(trees))
    for further in trees[2:]:
        made = Call(name, (made, further))
    return made


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b=None: -a if b is None else a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def _condition(expression: Nested, point: dict[str, Fraction]) -> Any:
    if isinstance(expression, str):
        return expression == "TRUE" or (point[expression] if expression in point else Fraction(expression))
    operator, *arguments = expression
    assert isinstance(operator, str)
    values = [_condition(argument, point) for argument in arguments]
    if operator == "and":
        return all(values)
    if operator == "!=":
        return len(set(values)) == len(values)
    if operator in _COMPARE:
        return all(_COMPARE[operator](a, b) for a, b in pairwise(values))
    return _ARITHMETIC[operator](*values)
