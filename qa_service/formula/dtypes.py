"""The names under which people write float formats."""

import re
from collections.abc import Iterator

from qa_service.patterns import lazy_pattern

FLOAT_DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
"""The float formats, under torch's names, from the widest to the narrowest."""
_PATTERNS = {
    "float8_e4m3fn": r"(?:float|fp|f)8[_ -]?e4m3(?:fn)?|e4m3(?:fn)?",
    "float8_e5m2": r"(?:float|fp|f)8[_ -]?e5m2|e5m2",
    "bfloat16": r"bfloat16|bf16|brain ?float(?: ?16)?",
    "float16": r"float ?-?16|fp-?16|f16|half(?:[- ]?(?:precision|float))?|binary16|半精度(?:浮点数?)?",
    "float64": r"float ?-?64|fp-?64|f64|double(?:[- ]?precision)?|binary64|双精度(?:浮点数?)?|雙精度",
    "float32": r"float ?-?32|fp-?32|f32|single[- ]precision|single(?= float)|binary32|单精度(?:浮点数?)?|單精度",
    "float8": r"(?:float|fp)-?8(?![_ -]?e[45])",
}
DTYPE_PATTERN = lazy_pattern(
    r"(?<![a-z0-9_])(?:torch\.|np\.|numpy\.|jnp\.|tf\.)?(?:"
    + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items())
    + r")(?![a-z0-9_])",
    re.IGNORECASE,
)
"""Matches a name of a format, in a group with torch's name of it; the group `float8` stands for both float8 formats."""


def names_of(match: re.Match[str]) -> tuple[str, ...]:
    """The formats, under torch's names, that a match of `DTYPE_PATTERN` names."""
    name = match.lastgroup or ""
    return ("float8_e4m3fn", "float8_e5m2") if name == "float8" else (name,)


def dtypes_in(text: str) -> Iterator[str]:
    """The formats that a text names, in its order, repetitions included."""
    for match in DTYPE_PATTERN.finditer(text):
        yield from names_of(match)
