"""Numbers and ranges for the variables of a formula, written x=100 y=1/3 z=-1000..1000."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from qa_service.errors import BadExpression
from qa_service.formula.lexer import fold_width, read_number
from qa_service.formula.sexpr import exact_number_text
from qa_service.patterns import lazy_pattern

MAX_VALUES = 64
_ASSIGNMENT = lazy_pattern(r"([^\W\d]\w{0,40})\s*=\s*([^\s,;=]+)\s*[,;]?\s*")
_DECIMAL = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_NUMBER = lazy_pattern(rf"({_DECIMAL})(?:/({_DECIMAL}))?", re.ASCII | re.IGNORECASE)
_NONFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "infinity": math.inf, "-infinity": -math.inf,
              "nan": math.nan}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`, both included."""

    low: Fraction
    high: Fraction


NumberOrRange = Fraction | float | Range
"""What is given for a variable: a number, of which only inf, -inf and nan are floats, or a range."""


def read_values(text: str) -> dict[str, NumberOrRange]:
    """Variable → number or range. Raises `BadExpression` for anything else."""
    folded = fold_width(text).replace("−", "-").strip()
    values: dict[str, NumberOrRange] = {}
    position = 0
    while position < len(folded):
        found = _ASSIGNMENT.match(folded, position)
        if found is None or len(values) >= MAX_VALUES:
            raise _bad_values(position)
        values[found[1]] = read_number_or_range(found[2], found.start(2))
        position = found.end()
    return values


def read_number_or_range(text: str, position: int = 0) -> NumberOrRange:
    """One number, such as 100, 1e-3, 1/3 or inf, or one range, such as -1e3..1e3."""
    low, dots, high = fold_width(text).replace("−", "-").strip().partition("..")
    if not dots:
        return _read_one(low, position)
    ends = [_read_one(each, position) for each in (low, high)]
    if not all(isinstance(end, Fraction) for end in ends) or not ends[0] < ends[1]:
        raise _bad_values(position)
    return Range(Fraction(ends[0]), Fraction(ends[1]))


def values_text(values: Mapping[str, NumberOrRange]) -> str:
    """The values on one line, as `read_values` reads them."""
    return " ".join(f"{name}={number_or_range_text(given)}" for name, given in values.items())


def number_or_range_text(given: NumberOrRange) -> str:
    """A number or range as text, without rounding."""
    if isinstance(given, Range):
        return f"{exact_number_text(given.low)}..{exact_number_text(given.high)}"
    return exact_number_text(given)


def _read_one(text: str, position: int) -> Fraction | float:
    if text.lower() in _NONFINITE:
        return _NONFINITE[text.lower()]
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise _bad_values(position)
    above, below = (_signed(each, position) for each in (found[1], found[2] or "1"))
    if not below:
        raise _bad_values(position)
    return above / below


def _signed(text: str, position: int) -> Fraction:
    digits = text.lstrip("+-")
    return -read_number(digits, position) if text.startswith("-") else read_number(digits, position)


def _bad_values(position: int) -> BadExpression:
    return BadExpression(
        zh=f"变量的值从第 {position + 1} 个字符起读不懂。写法：x=100 y=1/3，或一个范围 x=-1000..1000。",
        en=f"the values cannot be read from character {position + 1} on. Write x=100 y=1/3, or a range, x=-1000..1000",
        position=position,
        field="values",
    )
