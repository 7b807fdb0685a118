"""Clues: what follows from signs that a question states together, whatever entry answers it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qa_service.model.differential import rank, single_out
from qa_service.model.knowledge import Entry
from qa_service.model.observation import Observation, ObservationKind, Sign
from qa_service.model.values import Text

_CONTRASTS: frozenset[ObservationKind] = frozenset({"fine", "tried"})
"""Kinds of signs that tell causes apart better than what is seen and where."""
_PARTICULAR: frozenset[ObservationKind] = frozenset({"with"})
"""Kinds of signs that no entry is about, so that a clue which needs one says more than any entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """An inference from signs: "fine in bfloat16, nan in float16: the range is too small, not the precision"."""

    id: str
    signs: tuple[Sign, ...]
    """The signs that must all be observed."""
    excluded_by: tuple[Sign, ...] = ()
    """Signs of which none may be observed."""
    says: Text
    """The inference in one sentence."""
    entry: str = ""
    """Id of the entry whose run shows it; "" where it only says how a step of the answer is written with a tool."""
    below: tuple[str, ...] = ()
    """Ids of the entries below whose short answer the clue is shown; () for any entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClue:
    """A clue beside the observations that it follows from."""

    clue: Clue
    because: tuple[Observation, ...]


def find_clue(clues: Iterable[Clue], observations: Sequence[Observation], entry: Entry) -> FoundClue | None:
    """The clue to show with an entry's answer; None if none applies or none says more than the entry.

    A clue for this entry wins over one for any; then the one with the most signs; ties are broken by the number of
    particulars ("with"), of contrasts ("fine", "tried"), then by id. A clue for any entry that this one proves itself,
    or whose signs are all its own, is left out. If the observations single out a row of the entry's `tell`, there is no
    clue: the row is shown, which was written for this entry.
    """
    if not observations:
        return None
    observed = frozenset(one.sign for one in observations)
    fitting = [clue for clue in clues if _applies(clue, observed, entry)]
    if not fitting or single_out(rank(entry.tell, observations), entry.signs) is not None:
        return None
    best = min(fitting, key=_rank)
    first = {one.sign: one for one in reversed(observations)}
    return FoundClue(clue=best, because=tuple(first[sign] for sign in best.signs))


def _applies(clue: Clue, observed: frozenset[Sign], entry: Entry) -> bool:
    return (
        len(clue.signs) <= len(observed)
        and observed.issuperset(clue.signs)
        and observed.isdisjoint(clue.excluded_by)
        and (not clue.below or entry.id in clue.below)
        and (bool(clue.below) or not set(clue.signs) <= set(entry.signs))
        and (clue.entry != entry.id or _count(clue, _PARTICULAR) > 0)
    )


def _rank(clue: Clue) -> tuple[bool, int, int, int, str]:
    return not clue.below, -len(clue.signs), -_count(clue, _PARTICULAR), -_count(clue, _CONTRASTS), clue.id


def _count(clue: Clue, kinds: frozenset[ObservationKind]) -> int:
    return sum(sign.kind in kinds for sign in clue.signs)
