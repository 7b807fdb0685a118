"""Follow-up questions: the candidate they pick, and the parameter that a number, or "larger", means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from qa_service.answering.planning import PlannedRun
from qa_service.errors import BadParameter
from qa_service.experiments.parameters import clamp, validate
from qa_service.model import LANGS, Context, Entry, Experiment, Match, NamedValues, Parameter, Text, Value
from qa_service.parsing import ParsedQuestion, Quantity
from qa_service.parsing.changes import Rescaling
from qa_service.presentation.numbers import format_number

_NOTHING_TO_CHANGE = Text(
    "没有改动：上一个回答的实验里没有这样一个数可以放大或缩小。写出参数名和数值就可以，例如 n=200。",
    "Nothing was changed: the previous answer's experiment has no such number. Name a parameter and its value, such as "
    "n=200.",
)
_MIN_COUNT = 10  # from here on a whole number replaces an int parameter, such as n; below, a float one, such as x


def picked_candidate(question: ParsedQuestion | None, context: Context | None) -> str | None:
    """The candidate that a reply such as "第二个" or "the second one" picks."""
    if question is None or context is None or question.choice is None or not context.candidates:
        return None
    position = question.choice if question.choice > 0 else len(context.candidates)
    return context.candidates[position - 1] if position <= len(context.candidates) else None


def promote(entry: Entry, matches: tuple[Match, ...], at_least: float) -> tuple[Match, ...]:
    """The matches with this entry first; its score is at least `at_least` and that of any other."""
    own = next((match for match in matches if match.entry is entry), Match(entry=entry, score=0.0, phrasing=""))
    score = max(at_least, own.score, matches[0].score if matches else 0.0)
    return (replace(own, score=score), *(match for match in matches if match.entry is not entry))


def resolve_numbers(
    question: ParsedQuestion, earlier: NamedValues, previous: Entry | None, experiments: Mapping[str, Experiment]
) -> tuple[dict[str, Value | tuple[Value, ...]], tuple[Text, ...]]:
    """The question's parameters, and notes.

    "Larger" changes a number of `earlier`, else of the first block of the entry that the question goes on with
    (`previous`). A number belongs to the parameter that is named beside it; a bare one, as in "what about 0.9?",
    replaces a numeric one of `earlier`, else the main parameter. A note says what was changed, and what was not used.
    """
    if question.rescaling is not None and previous is not None:
        return _rescaled(question, question.rescaling, earlier, previous, experiments)
    number = question.number
    if question.params or number is None or question.reseeding or not question.is_short:
        return dict(question.params), ()
    if _is_observed(question, number):
        return {}, ()
    if number.unit:
        return {}, (_foreign_unit(question, number),)
    named = _named_parameter(question.text, previous, experiments) if previous else None
    if named is not None:
        return ({named.name: _as_kind(named, number.value)}, ()) if _takes(named, number.value) else ({}, ())
    name = ""
    if question.is_bare_number:
        name = _replaced(earlier, number.value) or (
            _main_parameter(previous, number.value, experiments) if previous else ""
        )
    if name:
        whole = type(earlier.get(name)) is int or (name not in earlier and _is_count(number.value))
        return {name: int(number.value) if whole else number.value}, ()
    return {}, (_not_used(question, number),) if previous else ()


def takes_rescaling(question: ParsedQuestion, entry: Entry, experiments: Mapping[str, Experiment]) -> bool:
    """Whether the entry can show the change of a number that the question asks for: "larger", "more layers"."""
    if question.rescaling is None:
        return False
    return not question.rescaling.noun or _named_parameter(question.rescaling.noun, entry, experiments) is not None


def unused_notes(
    said: NamedValues, runs: Sequence[PlannedRun], used_by: Mapping[str, tuple[str, ...]]
) -> tuple[Text, ...]:
    """A note for each parameter that a follow-up names, that no run takes and none has at this value anyway."""
    taken = {name for run in runs for name in run.params if name not in run.block.fixed}
    taken |= {name for name in said if used_by.get(f"param:{name}")}
    return tuple(
        Text(
            f"{name} = {format_number(value, 'zh')} 没有用上：这个回答的实验不能改这个量，下面的数和原来一样。",
            f"{name} = {format_number(value)} was not used: no experiment of this answer lets it change; the numbers "
            "are as before.",
        )
        for name, value in said.items()
        if name not in taken
    )


def names_foreign_parameter(question: ParsedQuestion, previous: Entry, experiments: Mapping[str, Experiment]) -> bool:
    """Whether the number that a follow-up gives is of something that the entry before it does not have: "eps 1e-8"."""
    if question.has_no_subject or question.is_bare_number:
        return False
    known = {name for block in previous.evidence for name in experiments[block.experiment].params}
    if question.params:
        return all(type(value) in (int, float) and name not in known for name, value in question.params.items())
    return question.number is not None and _named_parameter(question.text, previous, experiments) is None


def _rescaled(
    question: ParsedQuestion,
    wanted: Rescaling,
    earlier: NamedValues,
    previous: Entry,
    experiments: Mapping[str, Experiment],
) -> tuple[dict[str, Value | tuple[Value, ...]], tuple[Text, ...]]:
    """The changed number and a note that names it; without a number that can be changed, a note that says so."""
    named = _named_parameter(wanted.noun, previous, experiments) if wanted.noun else None
    values = _current_numbers(earlier, previous, experiments)
    kind: type = int if wanted.counts else float
    fitting = [name for name, value in values.items() if type(value) is kind] or list(values)
    name = named.name if named is not None and named.name in values else next(iter(fitting), "")
    if not name or (wanted.noun and named is None):
        return dict(question.params), (_NOTHING_TO_CHANGE,)
    before, parameter = values[name], _numeric_parameters(previous, experiments)[name]
    after = _scaled(before, wanted.factor)
    clamped = clamp(parameter, after)
    after = after if clamped is None or isinstance(clamped, str | bool) else clamped
    zh, en = [f"{format_number(before, lang)} → {format_number(after, lang)}" for lang in LANGS]
    if after == before:
        note = Text(
            f"{parameter.title.zh} {name} 已经到头了：{format_number(before, 'zh')}。",
            f"{name} stays at {format_number(before)}: this is as far as it goes.",
        )
        return {name: before}, (note,)
    return {name: after}, (
        Text(f"改了{parameter.title.zh}：{name} {zh}，其余不变。", f"Changed: {name} {en}, all else as before."),
    )


def _current_numbers(
    earlier: NamedValues, previous: Entry, experiments: Mapping[str, Experiment]
) -> dict[str, int | float]:
    """The numbers with which the proof of an entry runs: those named before first, then what its card shows."""
    parameters = _numeric_parameters(previous, experiments)
    if not parameters:
        return {}
    block = previous.evidence[0]
    names = dict.fromkeys((*earlier, *block.visible, *block.params, *parameters))
    found = {
        name: earlier.get(name, block.params.get(name, parameters[name].default))
        for name in names
        if name in parameters
    }
    return {name: value for name, value in found.items() if type(value) in (int, float) and value}  # type: ignore[misc]


def _numeric_parameters(entry: Entry, experiments: Mapping[str, Experiment]) -> dict[str, Parameter]:
    """The parameters of the proof that are numbers and may be changed."""
    if not entry.evidence:
        return {}
    block = entry.evidence[0]
    known = experiments[block.experiment].params
    return {name: each for name, each in known.items() if each.kind in ("int", "float") and name not in block.fixed}


def _scaled(value: float, factor: float) -> int | float:
    """The value times the factor: an integer changes by at least 1, any other number is rounded to two digits."""
    if type(value) is int:
        step = round(value * factor) - value
        return value + (step or (1 if factor > 1 else -1))
    return float(f"{value * factor:.2g}")


def _named_parameter(words: str, entry: Entry, experiments: Mapping[str, Experiment]) -> Parameter | None:
    """The numeric parameter of the entry's experiments whose name or title stands in the words; None if none does."""
    lower = words.lower()
    for block in entry.evidence:
        for name, each in experiments[block.experiment].params.items():
            if each.kind not in ("int", "float") or name in block.fixed:
                continue
            if re.search(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", lower) or any(
                _is_title(each.title[lang], lower) for lang in LANGS
            ):
                return each
    return None


def _is_title(title: str, words: str) -> bool:
    """Whether the words name a parameter as its title does: "batch size", "层数", "layers" for "number of layers"."""
    title = title.lower()
    return len(title) > 1 and (title in words or (len(words) > 1 and words in title.split()))


def _as_kind(parameter: Parameter, number: float) -> Value:
    return int(number) if parameter.kind == "int" else number


def _replaced(earlier: NamedValues, number: float) -> str:
    """The first numeric parameter of `earlier` of the same kind as a number, a count or not; "" if there is none."""
    numbers = [name for name, value in earlier.items() if type(value) in (int, float)]
    kind: type = int if _is_count(number) else float
    fitting = [name for name in numbers if type(earlier[name]) is kind] or numbers
    fitting = [name for name in fitting if number.is_integer() or type(earlier[name]) is float]
    return fitting[0] if fitting else ""


def _main_parameter(entry: Entry, number: float, experiments: Mapping[str, Experiment]) -> str:
    """The first parameter of the entry's first block that takes the number and is not fixed; "" if there is none."""
    if not entry.evidence:
        return ""
    block = entry.evidence[0]
    known = experiments[block.experiment].params
    names = [name for name in (*block.params, *known) if name not in block.fixed]
    kinds = ("int", "float") if _is_count(number) else ("float", "int")
    return next(
        (name for kind in kinds for name in names if known[name].kind == kind and _takes(known[name], number)), ""
    )


def _takes(parameter: Parameter, number: float) -> bool:
    try:
        validate(parameter, number)
    except BadParameter:
        return False
    return True


def _is_count(number: float) -> bool:
    return number.is_integer() and abs(number) >= _MIN_COUNT


def _is_observed(question: ParsedQuestion, number: Quantity) -> bool:
    """Whether the number is part of what the question observes: "nan after 3000 steps", "acc 50%"."""
    digits = number.words.split()[0]
    return any(digits in each.text for each in question.observations)


def _foreign_unit(question: ParsedQuestion, number: Quantity) -> Text:
    words = _as_written(question, number)
    unit = words[-len(number.unit) :]
    return Text(
        f"“{words}”没有用上：这里的实验没有以“{unit}”计的量。",
        f"“{words}” was not used: no experiment here has a quantity in “{unit}”.",
    )


def _not_used(question: ParsedQuestion, number: Quantity) -> Text:
    words = _as_written(question, number)
    return Text(
        f"{words} 没有用上：上一个回答的实验没有它能对应的参数。写出参数名就可以，例如 lr={words}。",
        f"{words} was not used: no parameter of the previous answer's experiment takes it. Name one, such as "
        f"lr={words}.",
    )


def _as_written(question: ParsedQuestion, number: Quantity) -> str:
    """The number as the question has it: "40 GB", where it was read as "40 gb"."""
    at = question.text.lower().find(number.words)
    return question.text[at : at + len(number.words)] if at >= 0 else number.words
