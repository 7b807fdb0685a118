"""Differential diagnosis: the rows of an entry's `tell`, those first for which the observations speak."""

from collections.abc import Sequence
from dataclasses import dataclass

from qa_service.model.knowledge import Distinction
from qa_service.model.observation import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedDistinction:
    """A row of `tell` beside what was observed."""

    row: Distinction
    because: tuple[Observation, ...]
    """The observations that speak for it."""
    excluded_by: tuple[Observation, ...]
    """The observations that rule it out; empty if it is possible."""


def rank(rows: Sequence[Distinction], observations: Sequence[Observation]) -> tuple[RankedDistinction, ...]:
    """Every row: most observations in its favour first, those that are ruled out last, else in the entry's order."""
    ranked = [
        RankedDistinction(
            row=row,
            because=tuple(one for one in observations if one.sign in row.signs),
            excluded_by=tuple(one for one in observations if one.sign in row.excluded_by),
        )
        for row in rows
    ]
    return tuple(sorted(ranked, key=lambda each: (bool(each.excluded_by), -len({one.sign for one in each.because}))))
