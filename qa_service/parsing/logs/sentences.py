"""Values that are stated in prose, and the test for lines with too many words to be records."""

import re

from qa_service.parsing.logs.held_out import begins_with_held_out
from qa_service.parsing.logs.names import is_measure
from qa_service.parsing.logs.pairs import parse_value
from qa_service.patterns import lazy_pattern

_MAX_SAID_CHARS, _MAX_TOLD_CHARS = 160, 60
_PLAIN_WORDS = 10
_WORDS_PER_PAIR = 8
_NUMBER_SAID = r"(?P<value>[-+]?(?:\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan|inf))"
_LOSS_AT_END = lazy_pattern(
    r"(?:\b(?:train|valid|val|eval|test)\w{0,10}\s)?(?:loss\b|损失)[^=:?{}]{1,60}(?:[=:]|\s-)\s*"
    + _NUMBER_SAID
    + r"\s*\.?\s*$",
    re.IGNORECASE,
)
_TOLD = lazy_pattern(
    rf"\W{{0,4}}(?P<name>[^\W\d][\w/-]*(?: [\w/-]+){{0,3}}) (?:is|was) {_NUMBER_SAID}\s*%?\.?\s*", re.IGNORECASE
)
_LOSS_BEHIND = lazy_pattern(
    rf"(?<![\w.%])(?<![=:]\s){_NUMBER_SAID}\s+(?:(?:avg|mean|train(?:ing)?|val(?:idation)?|test)\s+)?loss\b(?!\s*[=:\d])",
    re.IGNORECASE,
)
_CHANGED = lazy_pattern(
    r"^\W{0,6}(?:(?:\w+ )?(?:epoch|step|iter(?:ation)?)\s?\[?\d{1,9}\]?(?:/\d{1,9})?\W{1,4})?[^.?]{0,80}?"
    r"\b(?:(?P<lr>(?:the )?(?:learning[ _-]?rate|lr)s?)"
    r"|(?P<scale>(?:the )?(?:(?:loss|grad(?:ient)?|amp)[ _-]?)?scaler?))"
    r"(?: [a-z]{2,9}){0,4}(?: (?:group|optimi[sz]er) \d{1,3})?\s?(?:\bto\b:?|[:=]|->|\bnow\b:?)\s?"
    r"(?P<value>[-+]?(?:\d[\d,]*\.?\d*(?:e[-+]?\d{1,3})?))(?: (?:at|from|in|for|after) .{0,30})?\s?\W{0,3}$",
    re.IGNORECASE,
)
_CHANGES = lazy_pattern(
    r"\b(?:reduc|decreas|decay|lower|halv|drop|anneal|adjust|chang|increas|rais|updat|doubl|grow|set(?:ting)?\b|now\b)",
    re.IGNORECASE,
)
_CHANGED_IN_CHINESE = lazy_pattern(
    r"(?:(?P<lr>学习率|學習率|lr)|(?P<scale>(?:损失|梯度|loss)\s?(?:缩放|scale)(?:系数|因子|比例|值)?))[^\d，。,]{0,8}?"
    r"(?:调整|调|降低|降|衰减|减小|减半|设置|设|变|更新|改)[^\d，。,]{0,4}?(?:为|到|至|成)\s?[:：]?\s?"
    r"(?P<value>\d[\d,]*\.?\d*(?:e[-+]?\d{1,3})?)\s?\W{0,3}$",
    re.IGNORECASE,
)
_OVERFLOWS = lazy_pattern(r"overflow|溢出|缩放|\binf\b|\bnan\b|scaler?\b", re.IGNORECASE)
_I = lazy_pattern(r"\b(?:i|we|you|my|our|your|they|it)\b", re.IGNORECASE)
_MAX_CHANGE_CHARS = 140
_HEADS = lazy_pattern(
    r"^\W{0,6}(?P<name>[^\W\d][\w/-]{0,40}(?: [\w/-]{1,20}){0,4}?)(?: is)?\s?[:=：]\s*$", re.IGNORECASE
)


def measure_in_heading(text: str) -> str:
    """The name of a measure that a line ends with, for a number on the next one; "" for any other line."""
    match = _HEADS.match(text) if len(text) < _MAX_TOLD_CHARS else None
    name = "_".join(match["name"].lower().split()) if match else ""
    return name if is_measure(name) else ""


def changed_setting(text: str) -> tuple[str, float] | None:
    """(name, value) of a line that says that the learning rate or the loss scale becomes a number.

    "Epoch 12: reducing learning rate of group 0 to 5e-5", "overflow, loss scale adjusted to 1024".
    """
    match = _CHANGED.match(text) if len(text) < _MAX_CHANGE_CHARS and _CHANGES.search(text) else None
    if match is None and len(text) < _MAX_CHANGE_CHARS and not text.isascii():
        match = _CHANGED_IN_CHINESE.search(text)
    if match is None or _I.search(text):
        return None
    value = parse_value(match["value"])
    if match["lr"]:
        return ("learning_rate", value) if 0 <= value < 100 else None
    return ("loss_scale", value) if _OVERFLOWS.search(text) and value > 0 else None


def stated_loss(text: str) -> tuple[str, float] | None:
    """(name, value) of a loss that a sentence ends with, or that follows its number: "0.73 loss @ step 400"."""
    match = _LOSS_AT_END.search(text) or _LOSS_BEHIND.search(text) if len(text) < _MAX_SAID_CHARS else None
    if match is None:
        return None
    held_out = begins_with_held_out(match[0])
    return "val_loss" if held_out else "loss", parse_value(match["value"])


def stated_measure(text: str) -> tuple[str, float] | None:
    """(name, value) of a line that says no more than that a measure is a number: "Validation perplexity is 6.6"."""
    match = _TOLD.fullmatch(text) if len(text) < _MAX_TOLD_CHARS else None
    name = "_".join(match["name"].lower().split()) if match else ""
    return (name, parse_value(match["value"])) if match and is_measure(name) else None


def is_prose(text: str, pairs: int) -> bool:
    """Whether a line has far more words than numbers."""
    return len(text.split()) - 1 > _PLAIN_WORDS + _WORDS_PER_PAIR * pairs
