"""Validates values for parameters: those that a client sets are refused if invalid, those from a question clamped."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from qa_service.errors import BadExpression, BadParameter, UnknownParameter
from qa_service.formula.grammar import read_formula
from qa_service.formula.sexpr import to_sexpr
from qa_service.formula.values import read_values, values_text
from qa_service.model import Experiment, Lang, Limit, Parameter, Params, Text, Value

_INT_LIMIT = 10**309  # integers of this size overflow a float
_NONFINITE_WORDS = {
    "infinity": math.inf, "+infinity": math.inf, "inf": math.inf, "+inf": math.inf,
    "-infinity": -math.inf, "-inf": -math.inf, "nan": math.nan,
}  # fmt: skip

_MAX_FORMULAS = 50
"""The largest number of formulas in a text that has one on each line."""
_TEXTS: dict[str, Text] = {
    "formula": Text(
        "一个公式，例如 log(1+exp(x))，最多 {} 个字符", "a formula such as log(1+exp(x)), of at most {} characters"
    ),
    "formulas": Text(
        "一行一个公式，最多 {} 个字符", "formulas on lines of their own, of at most {} characters together"
    ),
    "values": Text(
        "变量的值或范围，例如 x=100 y=-5..5，最多 {} 个字符",
        "values or ranges of variables, such as x=100 y=-5..5, of at most {} characters",
    ),
}


def fill_defaults(experiment: Experiment, given: Mapping[str, Any]) -> dict[str, Value]:
    """A value for every parameter: the given ones validated, the others at their defaults.

    Raises `UnknownParameter`, or `BadParameter` for a value out of bounds or several that break a `Limit`.
    """
    unknown = [name for name in given if name not in experiment.params]
    if unknown:
        raise unknown_parameter(unknown[0], list(experiment.params))
    values = {
        name: validate(parameter, given[name]) if name in given else parameter.default
        for name, parameter in experiment.params.items()
    }
    for limit in experiment.limits:
        _check_limit(limit, values)
    return values


def unknown_parameter(name: str, allowed: list[str]) -> UnknownParameter:
    """The error for a name that is not among `allowed`; it suggests the most similar one."""
    names = ", ".join(allowed)
    similar = get_close_matches(name, allowed, 1)
    return UnknownParameter(
        zh=f"没有名为 {name!r} 的参数" + (f"，是不是 {similar[0]}？" if similar else "。") + f" 可用的参数：{names}",
        en=f"there is no parameter {name!r}"
        + (f"; did you mean {similar[0]}?" if similar else ".")
        + f" Allowed: {names}",
        field=f"params.{name}",
    )


def validate(parameter: Parameter, given: Any) -> Value:
    """The value converted to the parameter's type; raises `BadParameter` if it has another type or is out of bounds.

    Strings are parsed; "inf", "Infinity" and "nan" are accepted where the parameter allows non-finite values. Of a text
    the value is the canonical form of what its grammar reads; raises `BadExpression` where that cannot read it.
    """
    if parameter.kind == "text" and isinstance(given, str) and len(given) <= (parameter.le or 0):
        return _read_text(parameter, given)
    value = _coerce(parameter, given)
    if value is None or not _is_allowed(parameter, value):
        raise BadParameter(
            zh=f"参数 {parameter.name} 不能是 {_abbreviate(given)}：允许的是{describe_allowed(parameter, 'zh')}",
            en=f"{parameter.name} cannot be {_abbreviate(given)}: allowed is {describe_allowed(parameter, 'en')}",
            field=f"params.{parameter.name}",
        )
    return value


def clamp(parameter: Parameter, value: Value) -> Value | None:
    """The allowed value nearest to one extracted from a question; None if it has another type or no nearest one."""
    if parameter.kind == "text":
        return None
    typed = _coerce(parameter, value)
    if typed is None or isinstance(typed, bool | str) or _is_allowed(parameter, typed):
        return typed if typed is not None and _is_allowed(parameter, typed) else None
    if not math.isfinite(typed) or parameter.ge is None or parameter.le is None:
        return None
    nearest = min(max(typed, parameter.ge), parameter.le)
    return int(nearest) if parameter.kind == "int" else float(nearest)


def describe_allowed(parameter: Parameter, lang: Lang) -> str:
    """The allowed values in words: "an integer from 1 to 10000"."""
    match parameter.kind:
        case "choice":
            return (" 其中之一：" if lang == "zh" else "one of ") + ", ".join(parameter.choices)
        case "bool":
            return " true 或 false" if lang == "zh" else "true or false"
        case "text":
            return _TEXTS[parameter.grammar][lang].format(int(parameter.le or 0))
    low, high = parameter.ge, parameter.le
    kind = {"int": {"zh": "整数", "en": "an integer"}, "float": {"zh": "数", "en": "a number"}}[parameter.kind][lang]
    bounded = low is not None and high is not None and (math.isfinite(low) or math.isfinite(high))
    span = (f"（{low:g} 到 {high:g}）" if lang == "zh" else f" from {low:g} to {high:g}") if bounded else ""
    extra = ("，也可以是 inf、-inf、nan" if lang == "zh" else "; inf, -inf and nan too") if parameter.nonfinite else ""
    return kind + span + extra


def schema(experiment: Experiment) -> dict[str, Any]:
    """The parameters as JSON Schema (draft 2020-12), with bilingual titles in `x-title` and units in `x-unit`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: _schema(parameter) for name, parameter in experiment.params.items()},
        "additionalProperties": False,
    }


def _schema(parameter: Parameter) -> dict[str, Any]:
    constraints: dict[str, Any]
    match parameter.kind:
        case "choice":
            constraints = {"type": "string", "enum": list(parameter.choices)}
        case "bool":
            constraints = {"type": "boolean"}
        case "text":
            constraints = {"type": "string", "maxLength": int(parameter.le or 0)}
        case kind:
            constraints = {"type": "integer" if kind == "int" else "number"}
            if parameter.ge is not None and math.isfinite(parameter.ge):
                constraints["minimum"] = parameter.ge
            if parameter.le is not None and math.isfinite(parameter.le):
                constraints["maximum"] = parameter.le
    if parameter.nonfinite:
        constraints = {"anyOf": [constraints, {"enum": ["Infinity", "-Infinity", "NaN"]}]}
    return constraints | {
        "default": parameter.default,
        "x-title": {"zh": parameter.title.zh, "en": parameter.title.en},
        "x-unit": parameter.unit,
    }


def _coerce(parameter: Parameter, given: Any) -> Value | None:
    """The value converted to the parameter's type; None if it cannot be converted exactly, or if the parameter is a
    text.
    """
    if parameter.kind == "text":
        return None
    if parameter.kind == "choice":
        return given if isinstance(given, str) else None
    if parameter.kind == "bool":
        if isinstance(given, str):
            return {"true": True, "false": False}.get(given.lower())
        return given if isinstance(given, bool) else None
    if isinstance(given, bool):
        return None
    if isinstance(given, str):
        given = _parse_number(given)
    if not isinstance(given, int | float) or (isinstance(given, int) and abs(given) >= _INT_LIMIT):
        return None
    if parameter.kind == "int":
        is_integer = isinstance(given, int) or (math.isfinite(given) and given == int(given))
        return int(given) if is_integer else None
    try:
        return float(given)
    except OverflowError:
        return None


def _read_text(parameter: Parameter, given: str) -> str:
    """The canonical form of a text: formulas as S-expressions, values written exactly."""
    try:
        match parameter.grammar:
            case "formula":
                return _formula_sexpr(given)
            case "formulas":
                lines = [line for line in given.splitlines() if line.strip()]
                if len(lines) > _MAX_FORMULAS:
                    raise BadExpression(
                        zh=f"这里有 {len(lines)} 个公式，最多 {_MAX_FORMULAS} 个。",
                        en=f"there are {len(lines)} formulas; at most {_MAX_FORMULAS} are allowed",
                    )
                return "\n".join(map(_formula_sexpr, lines))
            case _:
                return values_text(read_values(given))
    except BadExpression as error:
        name = f"params.{parameter.name}"
        raise BadExpression(zh=error.zh, en=error.en, position=error.position, field=name) from None


def _formula_sexpr(text: str) -> str:
    return to_sexpr(read_formula(text))


def _parse_number(word: str) -> float | int | None:
    word = word.strip()
    if word.lower() in _NONFINITE_WORDS:
        return _NONFINITE_WORDS[word.lower()]
    if len(word) > 40:
        return None
    try:
        return int(word)
    except ValueError:
        pass
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # "1e999" does not count as inf


def _is_allowed(parameter: Parameter, value: Value) -> bool:
    if parameter.kind == "choice":
        return value in parameter.choices
    if isinstance(value, bool | str):
        return True
    if not math.isfinite(value):
        return parameter.nonfinite
    return (parameter.ge is None or value >= parameter.ge) and (parameter.le is None or value <= parameter.le)


def _check_limit(limit: Limit, values: Params) -> None:
    numbers = [float(values[name]) for name in limit.names]
    field = f"params.{limit.names[-1]}"
    if limit.ascending:
        if not numbers[0] < numbers[1]:
            lower, upper = limit.names
            raise BadParameter(zh=f"{lower} 必须小于 {upper}", en=f"{lower} must be less than {upper}", field=field)
    elif limit.le is not None and math.prod(numbers) > limit.le:
        product = " × ".join(limit.names)
        raise BadParameter(
            zh=f"{product} 是 {math.prod(numbers):g}，最多 {limit.le:g}（这样一次运行才不会太久）",
            en=f"{product} is {math.prod(numbers):g}, at most {limit.le:g} (so that a run stays short)",
            field=field,
        )


def _abbreviate(given: Any) -> str:
    text = repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= 60 else text[:57] + "…"
