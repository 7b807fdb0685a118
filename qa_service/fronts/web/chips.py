"""Chips: what was read from a question, each with what it was used for and a button that strikes it out."""

from dataclasses import dataclass

from qa_service.answering.chips import SAME_AS
from qa_service.fronts.web.entry_parts import figure_sign
from qa_service.fronts.web.labels import LABELS
from qa_service.model import Answer, Lang
from qa_service.presentation.numbers import format_number


@dataclass(frozen=True, slots=True)
class Chip:
    """One thing that was read."""

    name: str
    """By which a request strikes it out: "what:nan", "param:lr"."""
    text: str
    said: str
    """The words of the question that say so, "" if they are not known."""
    used_for: str
    """What it was used for, in words; "" if nothing uses it."""


def chips(answer: Answer, lang: Lang) -> list[Chip]:
    """The parameters that were read, then the observations; those that something uses first."""
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
    return sorted(_without_doubles(found), key=lambda chip: not chip.used_for)


def _without_doubles(found: list[Chip]) -> list[Chip]:
    """Of a parameter and the sign that says the same, struck out together, the one that is used, else the parameter."""
    by_name = {chip.name: chip for chip in found}
    doubles = set()
    for sign, (name, _) in SAME_AS.items():
        parameter, observed = by_name.get(f"param:{name}"), by_name.get(str(sign))
        if parameter and observed and parameter.text.endswith(f"= {sign.value}"):
            doubles.add(parameter.name if observed.used_for and not parameter.used_for else observed.name)
    return [chip for chip in found if chip.name not in doubles]


def _used_for(answer: Answer, name: str, lang: Lang) -> str:
    entry = answer.entry
    if entry is None:
        return ""
    words = {"match": LABELS["used_to_find"][lang], "tell": LABELS["used_to_tell"][lang]}
    uses = [
        words.get(each) or figure_sign(entry, each) or LABELS["used_in_run"][lang]
        for each in answer.used_by.get(name, ())
    ]
    return " ".join(dict.fromkeys(uses))
