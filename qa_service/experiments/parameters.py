"""Values for an experiment's parameters: checked when a reader fixed them, clamped when read from a question."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from qa_service.errors import BadParameter, UnknownParameter
from qa_service.model import Experiment, Lang, Limit, Parameter, Params, Value

_TOO_LONG = 10**309  # no float holds such an integer
_WORDS = {
    "infinity": math.inf, "+infinity": math.inf, "inf": math.inf, "+inf": math.inf,
    "-infinity": -math.inf, "-inf": -math.inf, "nan": math.nan,
}  # fmt: skip


def fill_defaults(experiment: Experiment, given: Mapping[str, Any]) -> dict[str, Value]:
    """Every parameter: the given ones checked, the others at their defaults. Raises `BadRequest`."""
    unknown = [name for name in given if name not in experiment.params]
    if unknown:
        raise unknown_parameter(unknown[0], list(experiment.params))
    values = {
        name: validate(parameter, given[name]) if name in given else parameter.default
        for name, parameter in experiment.params.items()
    }
    for limit in experiment.limits:
        _check_together(limit, values)
    return values


def unknown_parameter(name: str, allowed: list[str]) -> UnknownParameter:
    """The error for a name that none of the experiments has, with the nearest one that exists."""
    names = ", ".join(allowed)
    near = get_close_matches(name, allowed, 1)
    return UnknownParameter(
        zh=f"没有名为 {name!r} 的参数" + (f"，是不是 {near[0]}？" if near else "。") + f" 可用的参数：{names}",
        en=f"there is no parameter {name!r}" + (f"; did you mean {near[0]}?" if near else ".") + f" Allowed: {names}",
        field=f"params.{name}",
    )


def validate(parameter: Parameter, given: Any) -> Value:
    """One value as its type, inside its bounds; words such as "Infinity" count where inf and nan are allowed."""
    value = _as_kind(parameter, given)
    if value is None or not _allowed(parameter, value):
        raise BadParameter(
            zh=f"参数 {parameter.name} 不能是 {_shown(given)}：允许的是{describe(parameter, 'zh')}",
            en=f"{parameter.name} cannot be {_shown(given)}: allowed is {describe(parameter, 'en')}",
            field=f"params.{parameter.name}",
        )
    return value


def clamp(parameter: Parameter, value: Value) -> Value | None:
    """The nearest allowed value to one read from a question; None where it is of another kind."""
    typed = _as_kind(parameter, value)
    if typed is None or isinstance(typed, bool | str) or _allowed(parameter, typed):
        return typed if typed is not None and _allowed(parameter, typed) else None
    if not math.isfinite(typed) or parameter.ge is None or parameter.le is None:
        return None
    nearest = min(max(typed, parameter.ge), parameter.le)
    return int(nearest) if parameter.kind == "int" else float(nearest)


def describe(parameter: Parameter, lang: Lang) -> str:
    """What is allowed, in words: "an integer from 1 to 10000"."""
    match parameter.kind:
        case "choice":
            return (" 其中之一：" if lang == "zh" else "one of ") + ", ".join(parameter.choices)
        case "bool":
            return " true 或 false" if lang == "zh" else "true or false"
    low, high = parameter.ge, parameter.le
    kind = {"int": {"zh": "整数", "en": "an integer"}, "float": {"zh": "数", "en": "a number"}}[parameter.kind][lang]
    bounded = low is not None and high is not None and (math.isfinite(low) or math.isfinite(high))
    span = (f"（{low:g} 到 {high:g}）" if lang == "zh" else f" from {low:g} to {high:g}") if bounded else ""
    extra = ("，也可以是 inf、-inf、nan" if lang == "zh" else "; inf, -inf and nan too") if parameter.nonfinite else ""
    return kind + span + extra


def schema(experiment: Experiment) -> dict[str, Any]:
    """The parameters as JSON Schema, with titles in both languages under `x-title` and units under `x-unit`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: _schema(parameter) for name, parameter in experiment.params.items()},
        "additionalProperties": False,
    }


def _schema(parameter: Parameter) -> dict[str, Any]:
    shape: dict[str, Any]
    match parameter.kind:
        case "choice":
            shape = {"type": "string", "enum": list(parameter.choices)}
        case "bool":
            shape = {"type": "boolean"}
        case kind:
            shape = {"type": "integer" if kind == "int" else "number"}
            if parameter.ge is not None and math.isfinite(parameter.ge):
                shape["minimum"] = parameter.ge
            if parameter.le is not None and math.isfinite(parameter.le):
                shape["maximum"] = parameter.le
    if parameter.nonfinite:
        shape = {"anyOf": [shape, {"enum": ["Infinity", "-Infinity", "NaN"]}]}
    return shape | {
        "default": parameter.default,
        "x-title": {"zh": parameter.title.zh, "en": parameter.title.en},
        "x-unit": parameter.unit,
    }


def _as_kind(parameter: Parameter, given: Any) -> Value | None:
    if parameter.kind == "choice":
        return given if isinstance(given, str) else None
    if parameter.kind == "bool":
        if isinstance(given, str):
            return {"true": True, "false": False}.get(given.lower())
        return given if isinstance(given, bool) else None
    if isinstance(given, bool):
        return None
    if isinstance(given, str):
        given = _number(given)
    if not isinstance(given, int | float) or (isinstance(given, int) and abs(given) >= _TOO_LONG):
        return None
    if parameter.kind == "int":
        whole = isinstance(given, int) or (math.isfinite(given) and given == int(given))
        return int(given) if whole else None
    try:
        return float(given)
    except OverflowError:
        return None


def _number(word: str) -> float | int | None:
    word = word.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
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
    return value if math.isfinite(value) else None  # "1e999" is no spelling of inf


def _allowed(parameter: Parameter, value: Value) -> bool:
    if parameter.kind == "choice":
        return value in parameter.choices
    if isinstance(value, bool | str):
        return True
    if not math.isfinite(value):
        return parameter.nonfinite
    return (parameter.ge is None or value >= parameter.ge) and (parameter.le is None or value <= parameter.le)


def _check_together(limit: Limit, values: Params) -> None:
    numbers = [float(values[name]) for name in limit.names]
    field = f"params.{limit.names[-1]}"
    if limit.ascending:
        if not numbers[0] < numbers[1]:
            low, high = limit.names
            raise BadParameter(zh=f"{low} 必须小于 {high}", en=f"{low} must be less than {high}", field=field)
    elif limit.le is not None and math.prod(numbers) > limit.le:
        product = " × ".join(limit.names)
        raise BadParameter(
            zh=f"{product} 是 {math.prod(numbers):g}，最多 {limit.le:g}（这样一次运行才不会太久）",
            en=f"{product} is {math.prod(numbers):g}, at most {limit.le:g} (so that a run stays short)",
            field=field,
        )


def _shown(given: Any) -> str:
    text = repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= 60 else text[:57] + "…"
