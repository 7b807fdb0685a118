"""Floats that JSON cannot say, as words."""

import math
from typing import Any


def json_safe(value: Any) -> Any:
    """The same value with every float that JSON cannot say as "Infinity", "-Infinity" or "NaN", at any depth."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float() if math.isfinite(value):
            return value
        case float():
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {str(key): json_safe(element) for key, element in value.items()}
        case list() | tuple():
            return [json_safe(element) for element in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no place on the wire")
