"""Clues: what follows from signs that a question states together, whatever entry answers it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qa_service.model.differential import rank, single_out
from qa_service.model.knowledge import Entry
from qa_service.model.observation import Observation, ObservationKind, Sign
from qa_service.model.values import Text

_CONTRASTS: frozenset[ObservationKind] = frozenset({"fine", "tried"})
"""Kinds of signs that tell causes apart better than what is seen and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """An inference from signs: "fine in bfloat16, nan in float16: the range is too small, not the precision"."""

    id: str
    signs: tuple[Sign, ...]
    """All must be observed."""
    excluded_by: tuple[Sign, ...] = ()
    """None may be."""
    says: Text
    """One sentence."""
    entry: str
    """Id of the entry whose run shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClue:
    """A clue beside the observations that it follows from."""

    clue: Clue
    because: tuple[Observation, ...]


def find_clue(clues: Iterable[Clue], observations: Sequence[Observation], entry: Entry) -> FoundClue | None:
    """The clue to show with an entry's answer; None if none applies or none says more than the entry.

    The clue with the most signs wins; ties are broken by the number of contrasts ("fine", "tried"), then by id. A clue
    that the entry itself proves, or whose signs are all the entry's own, is left out. If the observations single out a
    row of the entry's `tell`, there is no clue: the row is shown, which was written for this entry.
    """
    if not observations:
        return None
    observed = frozenset(one.sign for one in observations)
    fitting = [clue for clue in clues if _applies(clue, observed, entry)]
    if not fitting or single_out(rank(entry.tell, observations), entry.signs) is not None:
        return None
    best = min(fitting, key=lambda clue: (-len(clue.signs), -_contrasts(clue), clue.id))
    first = {one.sign: one for one in reversed(observations)}
    return FoundClue(clue=best, because=tuple(first[sign] for sign in best.signs))


def _applies(clue: Clue, observed: frozenset[Sign], entry: Entry) -> bool:
    return (
        len(clue.signs) <= len(observed)
        and observed.issuperset(clue.signs)
        and observed.isdisjoint(clue.excluded_by)
        and clue.entry != entry.id
        and not set(clue.signs) <= set(entry.signs)
    )


def _contrasts(clue: Clue) -> int:
    return sum(sign.kind in _CONTRASTS for sign in clue.signs)
