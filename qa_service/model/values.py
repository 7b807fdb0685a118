"""Parameters' values, rows, metrics, and the same thing said in both languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Lang = Literal["zh", "en"]
LANGS: tuple[Lang, ...] = ("zh", "en")
Value = float | int | str | bool
"""A parameter's value."""
Params = Mapping[str, Value]
NamedValues = Mapping[str, Value | tuple[Value, ...]]
"""What a question names; a tuple where it compares several values of one parameter."""
Cell = float | int | str | bool | None
"""One cell of a row: a number (inf and nan are citizens), a word, or nothing."""
Row = Mapping[str, Cell]
Measured = Mapping[str, float | int | None]
"""Metric → value; None means that there is no such value (it never overflowed)."""


@dataclass(frozen=True, slots=True)
class Text:
    """The same thing said natively in both languages."""

    zh: str
    en: str

    def __getitem__(self, lang: Lang) -> str:
        return self.zh if lang == "zh" else self.en
