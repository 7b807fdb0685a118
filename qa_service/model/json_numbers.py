"""Floats that JSON cannot say, as words."""

import math
from typing import Any


def on_the_wire(value: Any) -> Any:
    """The same value with every float that JSON cannot say as "Infinity", "-Infinity" or "NaN", at any depth."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float() if math.isfinite(value):
            return value
        case float():
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {str(key): on_the_wire(element) for key, element in value.items()}
        case list() | tuple():
            return [on_the_wire(element) for element in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no place on the wire")
