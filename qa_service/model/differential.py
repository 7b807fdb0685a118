"""Differential diagnosis: orders the rows of an entry's `tell` by the observations for and against them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from qa_service.model.knowledge import Distinction
from qa_service.model.observation import Observation, ObservationKind, Sign

_SINGLING_OUT: frozenset[ObservationKind] = frozenset({"fine"})
"""Kinds of signs of which one is enough to single out a row; of other kinds two are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedDistinction:
    """A row of `tell` beside what was observed."""

    row: Distinction
    because: tuple[Observation, ...]
    """The observations that speak for it."""
    excluded_by: tuple[Observation, ...]
    """The observations that rule it out; empty if it is possible."""


def rank(rows: Sequence[Distinction], observations: Sequence[Observation]) -> tuple[RankedDistinction, ...]:
    """Every row, sorted by the number of signs observed in its favour; rows that are ruled out come last.

    The sort is stable: equal rows keep the entry's order.
    """
    ranked = [
        RankedDistinction(
            row=row,
            because=tuple(one for one in observations if one.sign in row.signs),
            excluded_by=tuple(one for one in observations if one.sign in row.excluded_by),
        )
        for row in rows
    ]
    return tuple(sorted(ranked, key=lambda each: (bool(each.excluded_by), -len({one.sign for one in each.because}))))


def single_out(ranked: Sequence[RankedDistinction], about: Collection[Sign]) -> RankedDistinction | None:
    """The one row that the observations single out, of rows in the order of `rank`; None if there is no such row.

    Signs in `about`, which are the entry's own, do not count. Of the row's other signs, more are observed than of any
    other row's: at least two, or one of the kind "fine".
    """
    its_own = frozenset(about)
    observed = [_observed_signs(each, its_own) for each in ranked]
    if not observed:
        return None
    first, *others = sorted(observed, key=len, reverse=True)
    enough = len(first) > 1 or any(sign.kind in _SINGLING_OUT for sign in first)
    unique = all(len(other) < len(first) for other in others)
    return ranked[observed.index(first)] if enough and unique else None


def _observed_signs(ranked: RankedDistinction, its_own: frozenset[Sign]) -> frozenset[Sign]:
    """The observed signs for a row that are not the entry's; none if it is ruled out."""
    if ranked.excluded_by or not ranked.because:
        return frozenset()
    return frozenset(each.sign for each in ranked.because) - its_own
