"""Follow-up questions: the candidate they pick, and the parameter that a bare number means."""

from collections.abc import Mapping
from dataclasses import replace

from qa_service.errors import BadParameter
from qa_service.experiments.parameters import validate
from qa_service.model import Context, Entry, Experiment, Match, NamedValues, Parameter, Text, Value
from qa_service.parsing import ParsedQuestion, Quantity

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


def resolve_number(
    question: ParsedQuestion, earlier: NamedValues, previous: Entry | None, experiments: Mapping[str, Experiment]
) -> tuple[dict[str, Value | tuple[Value, ...]], tuple[Text, ...]]:
    """The question's parameters, and notes.

    A bare number, as in "what about 0.9?", replaces a numeric one of `earlier`, else the main parameter of the entry
    that the question goes on with (`previous`); a note says if it fits neither.
    """
    number = question.number
    if question.params or number is None or not question.is_short or _is_observed(question, number):
        return dict(question.params), ()
    if number.unit:
        return {}, (_foreign_unit(number),)
    name = _replaced(earlier, number.value) or (
        _main_parameter(previous, number.value, experiments) if previous else ""
    )
    if name:
        whole = type(earlier.get(name)) is int or (name not in earlier and _is_count(number.value))
        return {name: int(number.value) if whole else number.value}, ()
    return {}, (_not_used(number),) if previous else ()


def _replaced(earlier: NamedValues, number: float) -> str:
    """The numeric parameter of `earlier` that a number resembles; "" if there is none."""
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


def _foreign_unit(number: Quantity) -> Text:
    return Text(
        f"“{number.words}”没有用上：这里的实验没有以“{number.unit}”计的量。",
        f"“{number.words}” was not used: no experiment here has a quantity in “{number.unit}”.",
    )


def _not_used(number: Quantity) -> Text:
    return Text(
        f"{number.words} 没有用上：上一个回答的实验没有它能对应的参数。写出参数名就可以，例如 lr={number.words}。",
        f"{number.words} was not used: no parameter of the previous answer's experiment takes it. Name one, such as "
        f"lr={number.words}.",
    )
