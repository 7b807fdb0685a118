"""Values that are said in words, and what has too many words to be a record."""

import re

from qa_service.parsing.logs.held_out import begins_held_out
from qa_service.parsing.logs.names import is_measure
from qa_service.parsing.logs.pairs import parse_value

_MAX_SAID_CHARS, _MAX_TOLD_CHARS = 160, 60
_PLAIN_WORDS = 10
_WORDS_PER_PAIR = 8
_NUMBER_SAID = r"(?P<value>[-+]?(?:\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan|inf))"
_LOSS_AT_END = re.compile(
    r"(?:\b(?:train|valid|val|eval|test)\w{0,10}\s)?(?:loss\b|损失)[^=:?{}]{1,60}(?:[=:]|\s-)\s*"
    + _NUMBER_SAID
    + r"\s*\.?\s*$",
    re.IGNORECASE,
)
_TOLD = re.compile(
    rf"\W{{0,4}}(?P<name>[^\W\d][\w/-]*(?: [\w/-]+){{0,3}}) (?:is|was) {_NUMBER_SAID}\s*%?\.?\s*", re.IGNORECASE
)
_LOSS_BEHIND = re.compile(
    rf"(?<![\w.%])(?<![=:]\s){_NUMBER_SAID}\s+(?:(?:avg|mean|train(?:ing)?|val(?:idation)?|test)\s+)?loss\b(?!\s*[=:\d])",
    re.IGNORECASE,
)


def said_loss(text: str) -> tuple[str, float] | None:
    """(name, value) of a loss that a sentence ends with, or that stands behind its number: "0.73 loss @ step 400"."""
    match = _LOSS_AT_END.search(text) or _LOSS_BEHIND.search(text) if len(text) < _MAX_SAID_CHARS else None
    if match is None:
        return None
    held_out = begins_held_out(match[0])
    return "val_loss" if held_out else "loss", parse_value(match["value"])


def told_measure(text: str) -> tuple[str, float] | None:
    """(name, value) of a line that says no more than that a measure is a number: "Validation perplexity is 6.6"."""
    match = _TOLD.fullmatch(text) if len(text) < _MAX_TOLD_CHARS else None
    name = "_".join(match["name"].lower().split()) if match else ""
    return (name, parse_value(match["value"])) if match and is_measure(name) else None


def is_prose(text: str, pairs: int) -> bool:
    """Whether a line has far more words than numbers."""
    return len(text.split()) - 1 > _PLAIN_WORDS + _WORDS_PER_PAIR * pairs
