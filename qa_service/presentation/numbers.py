"""Formats numbers and units as text; inf and nan are written as words."""

import math

from qa_service.model import Lang

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNIT_NAMES_ZH = {
    "step": "步", "epoch": "轮", "unit": "个神经元", "bit": "位", "terms": "项", "layer": "层", "sample": "个样本",
    "sd": "倍标准差",
}  # fmt: skip
_PLURAL_UNITS = frozenset({"step", "epoch", "unit", "bit", "layer", "sample"})
TEXT_DIGITS = 3
"""Significant digits in a sentence."""
_NEVER = {"zh": "从未", "en": "never"}
_YES_NO = {True: {"zh": "是", "en": "yes"}, False: {"zh": "否", "en": "no"}}
_ORDINAL_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_NO_VALUE = {"zh": "（没有）", "en": "(none)"}


def format_unit(name: str, lang: Lang, value: object = 1) -> str:
    """The unit's name, in English in the plural unless `value` is 1; "" for the dimensionless unit "1"."""
    if name == "1":
        return ""
    if lang == "zh":
        return _UNIT_NAMES_ZH.get(name, name)
    return f"{name}s" if name in _PLURAL_UNITS and value != 1 else name


def format_in_text(value: object, lang: Lang, form: str = "") -> str:
    """A value as a sentence quotes it, with three significant digits: 0.00391, 218th, 2.33 %, yes, never.

    `form` is that of a placeholder: "percent", "ordinal", "yes_no", or "" for a number. A value to which it does not
    apply is written as a number.
    """
    if value is None:
        return _NEVER[lang]
    if form == "yes_no" and value in (0, 1):
        return _YES_NO[bool(value)][lang]
    if form == "ordinal" and isinstance(value, int | float) and float(value).is_integer():
        return _ordinal(int(value), lang)
    text = format_number(value, lang, TEXT_DIGITS)
    if form == "percent" and isinstance(value, int | float) and math.isfinite(value):
        text = f"{_format_float(100 * value, TEXT_DIGITS)}{'%' if lang == 'zh' else ' %'}"
    return text.replace("-", "−") if isinstance(value, int | float) else text


def _ordinal(number: int, lang: Lang) -> str:
    if lang == "zh":
        return f"第 {number}"
    teens = 11 <= number % 100 <= 13
    return f"{number}{'th' if teens else _ORDINAL_ENDINGS.get(number % 10, 'th')}"


def format_number(value: object, lang: Lang = "en", digits: int = 5) -> str:
    """A value with `digits` significant digits: 4.0656×10¹⁷, 0.0039063, 150, inf, nan.

    Takes None, booleans, strings, numbers and tuples of these; raises `TypeError` for anything else.
    """
    match value:
        case None:
            return _NO_VALUE[lang]
        case bool() | str():
            return str(value).lower() if isinstance(value, bool) else value
        case tuple():
            return (
                "、".join(format_number(each, lang) for each in value)
                if lang == "zh"
                else ", ".join(map(format_number, value))
            )
        case int() if abs(value) < 10**9:
            return str(value)
        case int() | float():
            return _format_float(float(value), digits)
        case _:
            raise TypeError(f"cannot format a {type(value).__name__} as a number")


def _format_float(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        return f"{float(f'{value:.{digits}g}'):.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
