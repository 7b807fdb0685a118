"""Basic types: languages, bilingual texts, parameter values, rows, metric values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Lang = Literal["zh", "en"]
LANGS: tuple[Lang, ...] = ("zh", "en")
Value = float | int | str | bool
"""The value of a parameter."""
Params = Mapping[str, Value]
"""Parameter → value."""
NamedValues = Mapping[str, Value | tuple[Value, ...]]
"""Parameter → the value that a question names, or a tuple if it compares several."""
Cell = float | int | str | bool | None
"""One cell of a row: a number, possibly inf or nan, a word, or None for an empty cell."""
Row = Mapping[str, Cell]
"""Column → cell."""
MetricValues = Mapping[str, float | int | None]
"""Metric → value; None means that it never happened (such as the first step that overflows)."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text in both languages. `text[lang]` is the one in that language."""

    zh: str
    en: str

    def __getitem__(self, lang: Lang) -> str:
        return self.zh if lang == "zh" else self.en
