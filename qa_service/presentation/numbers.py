"""Formats numbers and units as text; inf and nan are words, never blank."""

import math

from qa_service.model import Lang

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNIT_NAMES_ZH = {
    "step": "步", "epoch": "轮", "unit": "个神经元", "bit": "位", "terms": "项", "layer": "层", "sample": "个样本",
    "sd": "倍标准差",
}  # fmt: skip
_PLURAL_UNITS = frozenset({"step", "epoch", "unit", "bit", "layer", "sample"})
_NO_VALUE = {"zh": "（没有）", "en": "(none)"}


def format_unit(name: str, lang: Lang, value: object = 1) -> str:
    """The unit's name, in the plural where `value` asks for it in English; "" for the dimensionless unit "1"."""
    if name == "1":
        return ""
    if lang == "zh":
        return _UNIT_NAMES_ZH.get(name, name)
    return f"{name}s" if name in _PLURAL_UNITS and value != 1 else name


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
