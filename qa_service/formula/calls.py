"""Builds trees from operands: finds the function that a name means, checks its arguments, keeps trees within bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cache

from qa_service.errors import BadExpression
from qa_service.formula.derived import Definition, defined_names, definition
from qa_service.formula.functions import FUNCTIONS, MAX_DEPTH, MAX_ELEMENTS, MAX_NODES, Function, canonical_names
from qa_service.formula.lexer import Token
from qa_service.formula.tree import Call, Node, Number, Variable, negative

_NO_EFFECT = frozenset(("dim", "axis", "keepdim", "keepdims", "dtype", "device", "requires_grad", "copy", "p", "ord"))
_DIMENSIONS = (0, -1)
_DIVISOR_KEYWORDS = frozenset(("unbiased", "correction", "ddof"))
_SIGMOIDS = frozenset(("sigma", "σ"))


class NeedsVector(Exception):
    """A variable stands where a vector is needed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Operand:
    """A tree with its size, its depth and what it is: a number, a vector of `length` elements, or a condition."""

    node: Node
    size: int = 1
    depth: int = 1
    length: int | None = None
    condition: bool = False
    literal: bool = False
    """Whether it is a number written without sign or brackets."""


def number_operand(value: Fraction | float, *, literal: bool = False) -> Operand:
    """The operand of a constant."""
    return Operand(Number(value if isinstance(value, float) else Fraction(value)), literal=literal)


def operand_of(tree: Node) -> Operand:
    """The operand of a tree that is already built. Raises `BadExpression` if the tree is not well formed."""
    if isinstance(tree, Call):
        token = Token("name", tree.function, 0, 0)
        return apply_function(tree.function, [operand_of(argument) for argument in tree.arguments], token)
    return Operand(tree)


@cache
def known_names() -> frozenset[str]:
    """Every function name that the parser knows, in lower case, without the names of constants."""
    constants = {function.name for function in FUNCTIONS.values() if function.kind == "constant"}
    return frozenset(
        (*(name for name, canonical in canonical_names().items() if canonical not in constants), *defined_names())
    )


def takes_several(name: str) -> bool:
    """Whether a function takes several numbers, as one vector or as separate arguments."""
    function = FUNCTIONS.get(canonical_names().get(name.lower(), ""))
    return function is not None and (function.kind in ("reduction", "map") or function.arity > 1)


def negate(operand: Operand, token: Token) -> Operand:
    """The operand −`operand`, in canonical form."""
    node = negative(operand.node)
    return Operand(node) if isinstance(node, Number) else apply_function("neg", [operand], token)


def vector(elements: Sequence[Operand], token: Token) -> Operand:
    """The vector of these numbers. Raises `BadExpression` for none, too many, and for vectors or conditions in it."""
    if not 1 <= len(elements) <= MAX_ELEMENTS or any(each.length is not None or each.condition for each in elements):
        raise BadExpression(
            zh=f"第 {token.start + 1} 个字符处的向量应当由 1 到 {MAX_ELEMENTS} 个数组成。",
            en=f"the vector at character {token.start + 1} must consist of 1 to {MAX_ELEMENTS} numbers",
            position=token.start,
        )
    return _built("vector", elements, token, length=len(elements))


def item(operand: Operand, index: Operand, token: Token) -> Operand:
    """An element of a vector, counted from 0, or from the end where the index is negative.

    Raises `BadExpression` if the index is not an integer literal within the vector.
    """
    length = operand.length or 0
    value = index.node.value if isinstance(index.node, Number) else math.nan
    if not isinstance(value, Fraction) or value.denominator != 1 or not -length <= value < length:
        raise BadExpression(
            zh=f"第 {token.start + 1} 个字符处的下标应当是 0 到 {length - 1} 的整数。",
            en=f"the index at character {token.start + 1} must be an integer from 0 to {length - 1}",
            position=token.start,
        )
    return _built("item", [operand, number_operand(value % length)], token)


def resolve(
    name: str,
    arguments: Sequence[Operand],
    token: Token,
    keywords: Mapping[str, Operand | None] | None = None,
    module: str = "",
) -> Operand:
    """The call of a function under one of its names, with keywords as in torch and numpy.

    `module` is the prefix, such as "np", whose `var` and `std` divide by n. Raises `BadExpression`.
    """
    keywords = keywords or {}
    lower = name.lower()
    if lower in ("log", "ln") and len(arguments) == 2:
        return _log_to_base(arguments[0], arguments[1], token)
    if lower in ("var", "std") and (module in ("np", "numpy", "jnp") or _divides_by_n(keywords)):
        lower = f"population_{lower}"
    if lower in defined_names():
        return _defined(lower, definition(lower), arguments, keywords, token)
    canonical = "sigmoid" if name in _SIGMOIDS else canonical_names().get(lower)
    if canonical is None or FUNCTIONS[canonical].kind == "constant":
        raise unknown_function(name, token)
    for keyword in keywords:
        if keyword not in _NO_EFFECT and keyword not in _DIVISOR_KEYWORDS:
            raise BadExpression(
                zh=f"第 {token.start + 1} 个字符处的 {name} 在这里不能带参数 {keyword}。",
                en=f"{name} at character {token.start + 1} does not take the keyword {keyword} here",
                position=token.start,
            )
    return apply_function(canonical, _as_taken(FUNCTIONS[canonical], arguments, token), token)


def apply_function(function: str, arguments: Sequence[Operand], token: Token) -> Operand:
    """The call of a function under its canonical name. Raises `BadExpression` for arguments that it does not take."""
    if function == "vector":
        return vector(arguments, token)
    if function == "item" and len(arguments) == 2:
        return item(arguments[0], arguments[1], token)
    wanted = FUNCTIONS[function]
    if function in ("max", "min") and len(arguments) == 1 and arguments[0].length is not None:
        wanted = FUNCTIONS[f"a{function}"]
    if len(arguments) != wanted.arity:
        raise _wrong_count(wanted, len(arguments), token)
    if wanted.kind in ("reduction", "map"):
        return _of_vectors(wanted, arguments, token)
    conditions = [each.condition for each in arguments]
    if conditions != [function == "where", *[False] * (wanted.arity - 1)][: wanted.arity]:
        raise _wrong_condition(wanted, token)
    lengths = {each.length for each in arguments if each.length is not None}
    if len(lengths) > 1:
        raise _different_lengths(token, sorted(lengths))
    length = lengths.pop() if lengths else None
    return _built(wanted.name, arguments, token, length=length, condition=wanted.kind == "comparison")


def unknown_function(name: str, token: Token) -> BadExpression:
    """The error for a name that no function has; it suggests the most similar one."""
    shown = name if len(name) <= 40 else f"{name[:39]}…"
    at = token.start + 1
    if len(name) <= 2:
        return BadExpression(
            zh=f"第 {at} 个字符处：{shown} 不是函数；要是乘法，请写 {shown}*(…)。",
            en=f"character {at}: {shown} is no function; for a product, write {shown}*(…)",
            position=token.start,
        )
    known = sorted(known_names())
    near = [each for each in known if sorted(each) == sorted(name.lower())] or get_close_matches(name.lower(), known, 1)
    return BadExpression(
        zh=f"第 {at} 个字符处：没有函数 {shown}。"
        + (f"是不是 {near[0]}？" if near else f"能用的函数：{_examples('、')}。"),
        en=f"character {at}: there is no function {shown}"
        + (f"; did you mean {near[0]}?" if near else f". There are {_examples(', ')}"),
        position=token.start,
    )


def _examples(separator: str) -> str:
    return separator.join(("exp", "log", "sqrt", "sigmoid", "tanh", "softmax", "logsumexp", "sum")) + separator + "…"


def _built(
    function: str, arguments: Sequence[Operand], token: Token, *, length: int | None = None, condition: bool = False
) -> Operand:
    nodes = 1 + sum(each.size for each in arguments)
    level = 1 + max((each.depth for each in arguments), default=0)
    if nodes > MAX_NODES:
        raise BadExpression(
            zh=f"式子太大：到第 {token.end} 个字符已超过 {MAX_NODES} 个运算和数。",
            en=f"the formula is too large: more than {MAX_NODES} operations and numbers by character {token.end}",
            position=token.start,
        )
    if level > MAX_DEPTH:
        raise too_deep(token, MAX_DEPTH)
    node = Call(function, tuple(each.node for each in arguments))
    return Operand(node, nodes, level, length, condition)


def too_deep(token: Token, limit: int) -> BadExpression:
    """The error for brackets or operations nested more than `limit` levels deep."""
    return BadExpression(
        zh=f"式子嵌套太深：到第 {token.start + 1} 个字符已超过 {limit} 层。",
        en=f"the formula is nested too deeply: more than {limit} levels at character {token.start + 1}",
        position=token.start,
    )


def _of_vectors(function: Function, arguments: Sequence[Operand], token: Token) -> Operand:
    for each in arguments:
        if isinstance(each.node, Variable):
            raise NeedsVector(each.node.name)
        if each.length is None:
            raise BadExpression(
                zh=f"第 {token.start + 1} 个字符处的 {function.name} 要的是向量，例如 {function.name}([1000, 0])。",
                en=f"{function.name} at character {token.start + 1} takes a vector, such as {function.name}([1000, 0])",
                position=token.start,
            )
    lengths = sorted({each.length for each in arguments if each.length is not None})
    if len(lengths) > 1:
        raise _different_lengths(token, lengths)
    return _built(function.name, arguments, token, length=lengths[0] if function.kind == "map" else None)


def _as_taken(function: Function, arguments: Sequence[Operand], token: Token) -> Sequence[Operand]:
    """The arguments as the function takes them: several numbers as a vector, a vector without torch's `dim`."""
    of_one_vector = function.kind in ("reduction", "map") and function.arity == 1
    if not of_one_vector and function.name not in ("max", "min"):
        return arguments
    if len(arguments) == 2 and arguments[0].length is not None and arguments[1].length is None:
        allowed = (*_DIMENSIONS, 2) if function.name == "norm" else _DIMENSIONS
        if isinstance(arguments[1].node, Number) and arguments[1].node.value in allowed:
            return arguments[:1]
    enough = 2 if of_one_vector else 3
    return [vector(arguments, token)] if len(arguments) >= enough else arguments


def _log_to_base(argument: Operand, base: Operand, token: Token) -> Operand:
    for value, name in ((2, "log2"), (10, "log10")):
        if base.node == Number(Fraction(value)):
            return apply_function(name, [argument], token)
    return apply_function(
        "div", [apply_function("log", [argument], token), apply_function("log", [base], token)], token
    )


def _divides_by_n(keywords: Mapping[str, Operand | None]) -> bool:
    """Whether these keywords of var or std ask for the division by n instead of n − 1."""
    return any(
        name in _DIVISOR_KEYWORDS and operand is not None and operand.node == Number(Fraction(0))
        for name, operand in keywords.items()
    )


def _defined(
    name: str,
    defined: Definition,
    arguments: Sequence[Operand],
    keywords: Mapping[str, Operand | None],
    token: Token,
) -> Operand:
    """The definition of a function, with the arguments in place of its parameters."""
    given = dict(zip(defined.parameters, arguments, strict=False))
    given |= {key: operand for key, operand in keywords.items() if key in defined.parameters and operand is not None}
    missing = [each for each in defined.parameters if each not in given and each not in defined.defaults]
    if missing or len(arguments) > len(defined.parameters):
        raise _count_error(name, len(defined.parameters), len(arguments), token)
    if name in ("clamp", "clip"):
        return _clamped(given, token)
    values = {key: operand_of(node) for key, node in defined.defaults.items()} | given
    return _instantiate(defined.body, values, token)


def _clamped(given: Mapping[str, Operand], token: Token) -> Operand:
    """The call that `clamp` stands for, without the bound that is not given."""
    clamped = given["x"]
    for parameter, function in (("min", "max"), ("max", "min")):
        if parameter in given:
            clamped = apply_function(function, [clamped, given[parameter]], token)
    return clamped


def _instantiate(body: Node, values: Mapping[str, Operand], token: Token) -> Operand:
    match body:
        case Variable(name):
            return values[name]
        case Call(function, arguments):
            return apply_function(function, [_instantiate(each, values, token) for each in arguments], token)
        case _:
            return Operand(body)


def _wrong_count(function: Function, given: int, token: Token) -> BadExpression:
    return _count_error(function.name, function.arity, given, token)


def _count_error(name: str, wanted: int, given: int, token: Token) -> BadExpression:
    return BadExpression(
        zh=f"第 {token.start + 1} 个字符处的 {name} 要 {wanted} 个自变量，这里有 {given} 个。",
        en=f"{name} at character {token.start + 1} takes {wanted} argument{'s' * (wanted != 1)}, not {given}",
        position=token.start,
    )


def _wrong_condition(function: Function, token: Token) -> BadExpression:
    if function.name == "where":
        return BadExpression(
            zh=f"第 {token.start + 1} 个字符处的 where 先要一个比较，例如 where(x > 0, x, 0)。",
            en=f"where at character {token.start + 1} begins with a comparison, such as where(x > 0, x, 0)",
            position=token.start,
        )
    return BadExpression(
        zh=f"第 {token.start + 1} 个字符处：比较只能是 where 的第一个自变量，例如 where(x > 0, x, 0)。",
        en=f"character {token.start + 1}: a comparison can only be the first argument of where, "
        "such as where(x > 0, x, 0)",
        position=token.start,
    )


def _different_lengths(token: Token, lengths: Sequence[int]) -> BadExpression:
    shown = " 和 ".join(map(str, lengths)), " and ".join(map(str, lengths))
    return BadExpression(
        zh=f"第 {token.start + 1} 个字符处的向量长度不同：{shown[0]}。",
        en=f"the vectors at character {token.start + 1} differ in length: {shown[1]}",
        position=token.start,
    )
