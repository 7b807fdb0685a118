"""Chips: what was read from a question, each with what used it; a request strikes out those that were misread.

A chip is written "kind:value" for an observation, such as "what:nan", and "param:name" for a parameter.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from qa_service.answering.planning import PlannedRun
from qa_service.model import Entry, FoundClue, NamedValues, Observation, Sign, Value
from qa_service.parsing import ParsedQuestion

USED_TO_MATCH, USED_TO_TELL, USED_BY_CLUE = "match", "tell", "clue"
"""What used an observation, among ids of evidence blocks: the entry is about it, it orders the causes, or the clue that
is shown follows from it."""
_SAME_AS: Mapping[Sign, tuple[str, Value]] = {
    **{Sign("in", name): ("dtype", name) for name in ("float16", "bfloat16", "float32", "float64")},
    **{Sign("in", name): ("act", name) for name in ("sigmoid", "tanh", "relu")},
}
"""Observations that say the same as a parameter: the runs that have the parameter's value use both."""


def used_by(
    runs: Sequence[PlannedRun],
    params: NamedValues,
    observations: Sequence[Observation],
    entry: Entry | None,
    clue: FoundClue | None = None,
) -> dict[str, tuple[str, ...]]:
    """Chip → what used it: "match" for a sign that the entry is about, "tell" for one that orders its causes, "clue"
    for one of which the clue makes use, ids of blocks that run with its value, in order. A chip that nothing used has
    ().
    """
    about = {USED_TO_MATCH: frozenset(entry.signs), USED_TO_TELL: _telling(entry)} if entry else {}
    if clue is not None:
        about[USED_BY_CLUE] = frozenset(clue.clue.signs)
    used = {f"param:{name}": _blocks(runs, name, value) for name, value in params.items()}
    for each in observations:
        name, value = _SAME_AS.get(each.sign, ("", ""))
        blocks = _blocks(runs, name, value) if _names(params, name, value) else ()
        used[str(each.sign)] = tuple(use for use, signs in about.items() if each.sign in signs) + blocks
    return used


def duplicate_chips(
    params: NamedValues, observations: Sequence[Observation], used: Mapping[str, tuple[str, ...]]
) -> set[str]:
    """The chips that repeat another one and are removed with it. Of a parameter and a sign with the same meaning, that
    is the one that nothing uses, else the sign.
    """
    found = set()
    for each in observations:
        name, value = _SAME_AS.get(each.sign, ("", ""))
        if name and params.get(name) == value:
            parameter, sign = f"param:{name}", str(each.sign)
            found.add(parameter if used.get(sign) and not used.get(parameter) else sign)
    return found


def _telling(entry: Entry) -> frozenset[Sign]:
    return frozenset(sign for row in entry.tell for sign in (*row.signs, *row.excluded_by))


def _blocks(runs: Sequence[PlannedRun], name: str, value: Value | tuple[Value, ...]) -> tuple[str, ...]:
    """The blocks in whose runs a parameter has the value, or one of the values compared."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(dict.fromkeys(run.block.id for run in runs if name in run.params and run.params[name] in values))


def _names(params: NamedValues, name: str, value: Value) -> bool:
    said = params.get(name)
    return value in said if isinstance(said, tuple) else value == said


def remove_chips(question: ParsedQuestion, without: Collection[str]) -> ParsedQuestion:
    """The question without the chips that the user removed. A number read as a parameter and the sign that says the
    same go together.
    """
    if not without:
        return question
    return replace(
        question,
        params=remove_param_chips(question.params, without),
        observations=tuple(each for each in question.observations if not _is_removed(each.sign, without)),
        particulars=tuple(each for each in question.particulars if not _is_removed(each.sign, without)),
    )


def remove_param_chips(params: NamedValues, without: Collection[str]) -> dict[str, Value | tuple[Value, ...]]:
    """The parameters without those removed, and of the others without the values that removed observations state."""
    kept: dict[str, Value | tuple[Value, ...]] = {}
    gone = {_SAME_AS[sign] for sign in _SAME_AS if str(sign) in without}
    for name, value in params.items():
        values = value if isinstance(value, tuple) else (value,)
        rest = tuple(each for each in values if (name, each) not in gone)
        if rest and f"param:{name}" not in without:
            kept[name] = rest if len(rest) > 1 else rest[0]
    return kept


def _is_removed(sign: Sign, without: Collection[str]) -> bool:
    name, _ = _SAME_AS.get(sign, ("", ""))
    return str(sign) in without or f"param:{name}" in without
