"""Follow-up questions: the candidate they pick, the language they inherit, the parameter that a bare number means."""

import re
from dataclasses import replace

from qa_service.model import Context, Entry, Lang, Match, NamedValues, Value
from qa_service.parsing import ParsedQuestion

_MIN_ENGLISH_WORDS = 2  # with fewer, a reply has no language of its own
_MIN_COUNT = 10  # from here on a whole number replaces an int parameter, such as n; below, a float one, such as x


def picked_candidate(question: ParsedQuestion | None, context: Context | None) -> str | None:
    """The candidate that a reply such as "第二个" or "the second one" picks."""
    if question is None or context is None or question.choice is None or not context.candidates:
        return None
    position = question.choice if question.choice > 0 else len(context.candidates)
    return context.candidates[position - 1] if position <= len(context.candidates) else None


def inherited_language(question: str, context: Context | None) -> Lang | None:
    """The conversation's language, if a reply such as "2", "0.9?" or "bf16" has none of its own; else None."""
    if context is None or re.search(r"[\u3400-\u9fff]", question):
        return None
    return context.lang if len(re.findall(r"\b[A-Za-z]{2,}\b", question)) < _MIN_ENGLISH_WORDS else None


def promote(entry: Entry, matches: tuple[Match, ...], at_least: float) -> tuple[Match, ...]:
    """The matches with this entry first; its score is at least `at_least` and that of any other."""
    own = next((match for match in matches if match.entry is entry), Match(entry=entry, score=0.0, phrasing=""))
    score = max(at_least, own.score, matches[0].score if matches else 0.0)
    return (replace(own, score=score), *(match for match in matches if match.entry is not entry))


def resolve_bare_number(question: ParsedQuestion, earlier: NamedValues) -> dict[str, Value | tuple[Value, ...]]:
    """The question's parameters; a bare number, as in "what about 0.9?", replaces a numeric one of `earlier`."""
    if question.params or question.number is None or not question.is_short:
        return dict(question.params)
    number = question.number
    numbers = [name for name, value in earlier.items() if type(value) in (int, float)]
    whole = number.is_integer() and abs(number) >= _MIN_COUNT
    kind: type = int if whole else float
    fitting = [name for name in numbers if type(earlier[name]) is kind] or numbers[:1]
    return {name: int(number) if isinstance(earlier[name], int) else number for name in fitting[:1]}
