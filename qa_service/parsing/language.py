"""The language of a text: Chinese or English."""

import re

from qa_service.model import Lang

_HAN = re.compile(r"[\u3400-\u9fff]")
_ASKS_IN_CHINESE = re.compile(
    r"怎[么麼样樣]|什[么麼]|[为為]何|如何|是不是|[请請][问問]|[吗嗎呢啊吧了]\s*[?？!！。]*\s*$|哪[个個里裡]|多少"
)
# Words of English sentences; names of functions, layers and formats belong to every language.
_ENGLISH_WORD = re.compile(
    r"\b(?:a|about|after|also|am|an|and|any|are|at|before|but|by|can|did|do|does|during|for|from|get|gets|has|have"
    r"|help|here"
    r"|how|i|if|in|into|is|it|its|mean|means|my|not|of|on|or|should|so|that|the|then|there|they|this|to|was|we"
    r"|what|when"
    r"|where|which|while|who|why|will|with|without|would|you|your)\b",
    re.IGNORECASE,
)
_OF_A_TRACEBACK = re.compile(
    r"^[ \t]*(?:Traceback \(most recent call last\).*|File \".*\n.*"
    r"|(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Warning)\b:?.*)$",
    re.MULTILINE,
)


def spoken(text: str) -> str:
    """The text without the frames and messages of tracebacks, which are English whatever language the reader speaks."""
    return _OF_A_TRACEBACK.sub("", text)


def own_language(text: str) -> Lang | None:
    """The language that a text shows; None for one without, such as "0.9?", "bf16" or "sigmoid + batch norm".

    Chinese characters show Chinese, except where an English sentence quotes one or two of them.
    """
    english = len(_ENGLISH_WORD.findall(text))
    if han := len(_HAN.findall(text)):
        return "zh" if han >= english or _ASKS_IN_CHINESE.search(text) else "en"
    return "en" if english else None


def detect_language(text: str) -> Lang:
    """The language that a text shows, else English."""
    return own_language(text) or "en"
