"""Tells lines about held-out data from those about training, by words at their beginning or between marks."""

import re

from qa_service.parsing.logs.names import meaning_of
from qa_service.patterns import lazy_pattern

_VALIDATION = lazy_pattern(
    r"^(?:\W|在|对|于){0,8}(?:val|valid|validation|validating|dev|eval|evaluation|evaluating|test|testing|测试|验证)(?![a-z])[^=]|(?:epoch|iter)\(val\)"
    r"|\|\s*valid\w*\s*(?:\||on\b)|\[eval\]|epoch:valid:|validation loss at |^(?:\*+ ?)?(?:eval|test)\b"
    r"|^\s*\* +(?:acc|prec|top)|saving dict for global step",
    re.IGNORECASE,
)
_VALIDATION_HEADING = lazy_pattern(
    r"^\W*(?:test|validation|eval(?:uation)?)(?: (?:error|results?|set|metrics))? ?:\s*$", re.IGNORECASE
)
"""Before a line of values."""
_SET_APART = lazy_pattern(
    r"[\[(<{](?:val|valid|validation|dev|eval|evaluation|test|testing|测试|验证)[\])>}]"
    r"|^\W{0,4}(?:\w{1,12} ){1,3}(?:test|testing|validation|evaluation|测试|验证)\s?:"
    r"|[\])|:}>\-]\s*(?:val|valid|validation|dev|eval|evaluation|test|testing|测试|验证)"
    r"(?: \w{1,10}){0,2}\s*(?::|\||-\s)"
)
"""A part of the data between marks: "[Epoch 3] validation: "."""
_VALIDATION_HINTS = ("val", "test", "dev", "测试", "验证", "* ", "dict for")
_TRAINS = lazy_pattern(r"train", re.IGNORECASE)
_SECTION = lazy_pattern(
    r"(?<![A-Za-z_])['\"]?(?:val|valid|validation|eval|test)\w*['\"]?\s*[:=]\s*\{([^{}]{1,400})\}", re.IGNORECASE
)
_KEY = lazy_pattern(r"(['\"]?)([A-Za-z_][\w/@.-]*)(?=\1\s*[:=])")


def is_of_validation(text: str) -> bool:
    """Whether a line reports values of held-out data."""
    head = text[:160].lower()
    named = any(word in head for word in _VALIDATION_HINTS) and (_VALIDATION.search(head) or _is_set_apart(head))
    return bool(named) and not _TRAINS.search(head[:30])


def begins_with_held_out(text: str) -> bool:
    """Whether a text begins with the name of held-out data, such as "Validation"."""
    return bool(_VALIDATION.search(text.lower()))


def is_validation_heading(text: str) -> bool:
    """Whether a line is a heading that makes the next one a line about held-out data."""
    return bool(_VALIDATION_HEADING.match(text))


def mark_sections(text: str) -> str:
    """The line with "val_" before the names in a dictionary of validation: "train {…} val {'loss': 0.5}"."""
    if "{" in text and not text.lstrip().startswith("{"):
        return _SECTION.sub(lambda section: _KEY.sub(r"\1val_\2", section[1]), text)
    return text


def _is_set_apart(head: str) -> bool:
    """Whether held-out data are named between marks, before any mention of training or of a value."""
    match = _SET_APART.search(head)
    return match is not None and not re.search(r"train|loss|acc", head[: match.start()])


def validation_name(name: str) -> str:
    """The name of a value on held-out data: "val_loss", "val_accuracy", or "val_" before a name without a meaning."""
    meaning = meaning_of(name)
    if meaning in ("loss", "accuracy"):
        return f"val_{meaning}"
    return name if meaning or name.startswith(("val", "eval", "test")) else f"val_{name}"
