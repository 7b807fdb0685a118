"""Numbers for people and for the wire: inf and nan are words everywhere, never blank, never null."""

import math
from typing import Literal

from qa_service.model import Lang

Number = float | int | Literal["Infinity", "-Infinity", "NaN"]
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNIT_NAMES_ZH = {
    "step": "步", "epoch": "轮", "unit": "个神经元", "bit": "位", "terms": "项", "layer": "层", "sample": "个样本",
    "sd": "倍标准差",
}  # fmt: skip
_PLURAL_UNITS = frozenset({"step", "epoch", "unit", "bit", "layer", "sample"})
_NO_VALUE = {"zh": "（没有）", "en": "(none)"}


def format_unit(name: str, lang: Lang, value: object = 1) -> str:
    """A unit in words, of so many; nothing for a bare number."""
    if name == "1":
        return ""
    if lang == "zh":
        return _UNIT_NAMES_ZH.get(name, name)
    return f"{name}s" if name in _PLURAL_UNITS and value != 1 else name


def format_number(value: object, lang: Lang = "en", digits: int = 5) -> str:
    """A value as a scientist would print it: 4.0656×10¹⁷, 0.0039063, 150, inf, nan."""
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
            raise TypeError(f"{type(value).__name__} is no figure")


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
