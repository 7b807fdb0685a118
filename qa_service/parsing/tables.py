"""Tables of patterns and what they state, of which a text is searched for the few that may match it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from qa_service.parse_cache import ParseCache
from qa_service.parsing.required import recall_required_grams, required_grams
from qa_service.patterns import lazy_pattern

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PatternRule(Generic[_T]):
    """A pattern, what it states, and the `grams` of which a text needs one for it to match, if known."""

    value: _T
    pattern: re.Pattern[str]
    needs: frozenset[str] | None


class Table(Generic[_T]):
    """What is stated by which pattern, in the table's order. What the patterns require is found when it is first read,
    so that it can be recalled before.
    """

    def __init__(self, rows: Iterable[tuple[_T, str]]) -> None:
        self._patterns = tuple(rows)

    def __iter__(self) -> Iterator[PatternRule[_T]]:
        return iter(self._stated)

    def recall(self, parsed: ParseCache) -> None:
        """Take over what `parsed` holds of the patterns."""
        recall_required_grams((pattern for _, pattern in self._patterns), parsed)

    @cached_property
    def _stated(self) -> tuple[PatternRule[_T], ...]:
        return tuple(PatternRule(value, lazy_pattern(each), required_grams(each)) for value, each in self._patterns)
