"""JSON has no inf or nan: they are written as the strings "Infinity", "-Infinity" and "NaN"."""

import math
from typing import Any


def json_safe(value: Any) -> Any:
    """The value with inf and nan as strings and tuples as lists, at any depth. Raises TypeError for other types."""
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
            raise TypeError(f"{type(value).__name__} cannot be written as JSON")
