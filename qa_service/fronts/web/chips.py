"""Chips: the parameters and observations read from a question, each with its use and a button that removes it."""

from dataclasses import dataclass

from qa_service.answering.chips import duplicate_chips
from qa_service.fronts.web.entry_parts import figure_sign
from qa_service.fronts.web.labels import LABELS
from qa_service.model import Answer, Lang
from qa_service.presentation.numbers import format_number

_USES = {"match": "used_to_find", "tell": "used_to_tell", "clue": "used_for_clue"}
"""Use of a chip other than in a run → name of its label."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A parameter or an observation that was read from the question."""

    name: str
    """Its name in `without` of a request that removes it: "what:nan", "param:lr"."""
    text: str
    said: str
    """The words of the question that state it, "" if they are not known."""
    used_for: str
    """Its use in words; "" if nothing uses it."""


def chips(answer: Answer, lang: Lang) -> list[Chip]:
    """The parameters that were read, then the observations; those that are used come first. None for a calculation."""
    if answer.calculation is not None:
        return []
    found = [
        Chip(f"param:{name}", f"{name} = {format_number(value, lang)}", "", _used_for(answer, f"param:{name}", lang))
        for name, value in answer.params.items()
    ]
    found += [
        Chip(str(each.sign), each.sign.name[lang], each.text, _used_for(answer, str(each.sign), lang))
        for each in {str(one.sign): one for one in answer.observations}.values()
    ]
    hidden = duplicate_chips(answer.params, answer.observations, answer.used_by)
    return sorted((chip for chip in found if chip.name not in hidden), key=lambda chip: not chip.used_for)


def _used_for(answer: Answer, name: str, lang: Lang) -> str:
    entry = answer.entry
    if entry is None:
        return ""
    words = {use: LABELS[label][lang] for use, label in _USES.items()}
    uses = [
        words.get(each) or figure_sign(entry, each) or LABELS["used_in_run"][lang]
        for each in answer.used_by.get(name, ())
    ]
    return " ".join(dict.fromkeys(uses))
