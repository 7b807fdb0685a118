"""A question that follows another: what it picks, where it stays, what number it means."""

import re
from dataclasses import replace

from qa_service.model import Context, Entry, Lang, Match, NamedValues, Value
from qa_service.parsing import ParsedQuestion

_A_SENTENCE = 2  # words from which on one can say that it is English
_A_COUNT = 10  # a whole number from here on is how many, below it how much


def picked_candidate(reading: ParsedQuestion | None, context: Context | None) -> str | None:
    """The candidate that a reply such as "第二个" or "the second one" picks."""
    if reading is None or context is None or reading.choice is None or not context.candidates:
        return None
    place = reading.choice if reading.choice > 0 else len(context.candidates)
    return context.candidates[place - 1] if place <= len(context.candidates) else None


def inherited_language(question: str, context: Context | None) -> Lang | None:
    """The conversation's, where a reply such as "2", "0.9?" or "bf16" has no language of its own; else None."""
    if context is None or re.search(r"[\u3400-\u9fff]", question):
        return None
    return context.lang if len(re.findall(r"\b[A-Za-z]{2,}\b", question)) < _A_SENTENCE else None


def promote(entry: Entry, matches: tuple[Match, ...], at_least: float) -> tuple[Match, ...]:
    """The same matches with this entry before them all."""
    own = next((match for match in matches if match.entry is entry), Match(entry=entry, score=0.0, phrasing=""))
    score = max(at_least, own.score, matches[0].score if matches else 0.0)
    return (replace(own, score=score), *(match for match in matches if match.entry is not entry))


def resolve_bare_number(reading: ParsedQuestion, earlier: NamedValues) -> dict[str, Value | tuple[Value, ...]]:
    """What the question names; "what about 0.9?" names the number that its context was about."""
    if reading.params or reading.number is None or not reading.is_short:
        return dict(reading.params)
    number = reading.number
    numbers = [name for name, value in earlier.items() if type(value) in (int, float)]
    whole = number.is_integer() and abs(number) >= _A_COUNT
    kind: type = int if whole else float
    fitting = [name for name in numbers if type(earlier[name]) is kind] or numbers[:1]
    return {name: int(number) if isinstance(earlier[name], int) else number for name in fitting[:1]}
