"""Trees as S-expressions, which experiments take: `(log (add 1 (exp x)))`, `(vector 1000 0)`, `(mul pi 1/3)`."""

import math
import re
from fractions import Fraction

from qa_service.errors import BadExpression
from qa_service.formula.functions import FUNCTIONS, MAX_DEPTH, MAX_FORMULA_CHARACTERS, MAX_NODES
from qa_service.formula.tree import Call, Node, Number, Variable
from qa_service.patterns import lazy_pattern

_TOKEN = lazy_pattern(r"\s*([()]|[^\s()]+)")
_NUMBER = lazy_pattern(r"[-+]?\d{1,4000}(?:\.\d{1,4000})?(?:e[-+]?\d{1,4})?|[-+]?\d{1,4000}/\d{1,4000}", re.ASCII)
_NONFINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_NAME = lazy_pattern(r"[^\W\d]\w*")


def to_sexpr(tree: Node) -> str:
    """The tree on one line: numbers as exact decimals or quotients, constants by their bare names."""
    match tree:
        case Number(value):
            return exact_number_text(value)
        case Variable(name):
            return name
        case Call(function, arguments):
            if not arguments and FUNCTIONS[function].kind == "constant":
                return function
            return f"({' '.join((function, *map(to_sexpr, arguments)))})"


def exact_number_text(value: Fraction | float) -> str:
    """A number exactly: 0.1, -3, 1e-30, 1/3, inf, nan. A decimal is written without exponent where that is shorter."""
    if not isinstance(value, Fraction):
        return str(value)
    digits, exponent = _decimal(value)
    if digits is None:
        return f"{value.numerator}/{value.denominator}"
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    if exponent >= 0:
        plain = digits + "0" * exponent
    elif -exponent < len(digits):
        plain = f"{digits[:exponent]}.{digits[exponent:]}"
    else:
        plain = "0." + digits.rjust(-exponent, "0")
    point = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    scientific = f"{point}e{exponent + len(digits) - 1}"
    return sign + (plain if len(plain) <= max(len(scientific), 7) else scientific)


def _decimal(value: Fraction) -> tuple[str | None, int]:
    """(digits, exponent) with value = digits·10^exponent and no trailing zero; (None, 0) if it is not a decimal."""
    twos = fives = 0
    rest = value.denominator
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    if rest != 1:
        return None, 0
    exponent = max(twos, fives)
    digits = str(value.numerator * 2 ** (exponent - twos) * 5 ** (exponent - fives))
    stripped = digits.rstrip("0") or "0"
    return stripped, 0 if stripped == "0" else len(digits) - len(stripped) - exponent


def from_sexpr(text: str) -> Node:
    """The tree of an S-expression. Raises `BadExpression` for anything that `to_sexpr` does not write."""
    if len(text) > 4 * MAX_FORMULA_CHARACTERS:
        raise _bad(len(text))
    open_calls: list[list[str | Node]] = []
    position, count = 0, 0
    text = text.strip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise _bad(position)
        word, start, position = token[1], token.start(1), token.end()
        count += 1
        if word == "(":
            name = _TOKEN.match(text, position)
            if name is None or name[1] not in FUNCTIONS or len(open_calls) >= MAX_DEPTH or count > 4 * MAX_NODES:
                raise _bad(start)
            open_calls.append([name[1]])
            position = name.end()
            continue
        node = _close(open_calls, start) if word == ")" else _atom(word, start)
        if open_calls:
            open_calls[-1].append(node)
        elif position == len(text):
            return node
        else:
            raise _bad(position)
    raise _bad(position)


def _close(open_calls: list[list[str | Node]], position: int) -> Node:
    if not open_calls:
        raise _bad(position)
    name, *arguments = open_calls.pop()
    assert isinstance(name, str)
    function = FUNCTIONS[name]
    if len(arguments) != function.arity and not (function.kind == "vector" and arguments):
        raise _bad(position)
    return Call(name, tuple(argument for argument in arguments if not isinstance(argument, str)))


def _atom(word: str, position: int) -> Node:
    if word in _NONFINITE:
        return Number(_NONFINITE[word])
    if _NUMBER.fullmatch(word) and not word.endswith("/0"):
        return Number(Fraction(word))
    if word in FUNCTIONS and FUNCTIONS[word].kind == "constant":
        return Call(word, ())
    if _NAME.fullmatch(word) and word not in FUNCTIONS:
        return Variable(word)
    raise _bad(position)


def _bad(position: int) -> BadExpression:
    return BadExpression(
        zh=f"第 {position + 1} 个字符处不是 S 表达式，例如 (log (add 1 (exp x)))",
        en=f"character {position + 1} is not part of an S-expression such as (log (add 1 (exp x)))",
        position=position,
    )
