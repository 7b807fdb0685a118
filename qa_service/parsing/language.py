"""The language of a text: Chinese or English."""

import re

from qa_service.model import Lang
from qa_service.patterns import lazy_pattern

_HAN = lazy_pattern(r"[\u3400-\u9fff]")
_ASKS_IN_CHINESE = lazy_pattern(
    r"怎[么麼样樣]|什[么麼]|[为為]何|如何|是不是|[请請][问問]|[吗嗎呢啊吧了]\s*[?？!！。]*\s*$|哪[个個里裡]|多少"
)
# Words of English sentences; names of functions, layers and formats belong to every language.
_ENGLISH_WORD = lazy_pattern(
    r"\b(?:a|about|after|also|am|an|and|any|are|at|before|but|by|can|did|do|does|during|for|from|get|gets|has|have"
    r"|help|here"
    r"|how|i|if|in|into|is|it|its|mean|means|my|not|of|on|or|should|so|that|the|then|there|they|this|to|was|we"
    r"|what|when"
    r"|where|which|while|who|why|will|with|without|would|you|your)\b",
    re.IGNORECASE,
)
_OF_A_TRACEBACK = lazy_pattern(
    r"^[ \t]*(?:Traceback \(most recent call last\).*|File \".*\n.*"
    r"|(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Warning)\b:?.*)$",
    re.MULTILINE,
)


# Scripts and words of languages that numstab neither reads nor answers in.
_OTHER_SCRIPTS = lazy_pattern(
    r"[\u3040-\u30fa\u30fd-\u30ff\u1100-\u11ff\uac00-\ud7af\u0400-\u04ff\u0590-\u06ff\u0900-\u097f\u0e00-\u0e7f]"
)
_OTHER_WORDS = lazy_pattern(
    r"(?<![\w.])(?:warum|wieso|weshalb|nicht|oder|wird|werden|meine?|bei|wenn|mit"
    r"|pourquoi|comment|sont|mon|avec|dans|qu['’]est"
    r"|por qu[eé]|c[oó]mo|cu[aá]ndo|perch[eé]|porque|minha|não"
    r"|waarom|mijn|niet|dlaczego|neden|nasıl|tại sao|mengapa)(?![\w.])",
    re.IGNORECASE,
)


def is_other_language(text: str) -> bool:
    """Whether a text is in a language that is neither Chinese nor English."""
    if len(_OTHER_SCRIPTS.findall(text)) >= 2:
        return True
    if _HAN.search(text) or _ENGLISH_WORD.search(text):
        return False
    return bool(_OTHER_WORDS.search(text))


def strip_tracebacks(text: str) -> str:
    """The text without the frames and messages of tracebacks, which are English whatever language the reader speaks."""
    return _OF_A_TRACEBACK.sub("", text)


def language_shown(text: str) -> Lang | None:
    """The language that a text shows; None for one without, such as "0.9?", "bf16", "sigmoid + batch norm", or German.

    Chinese characters show Chinese, except where an English sentence quotes one or two of them.
    """
    if is_other_language(text):
        return None
    english = len(_ENGLISH_WORD.findall(text))
    if han := len(_HAN.findall(text)):
        return "zh" if han >= english or _ASKS_IN_CHINESE.search(text) else "en"
    return "en" if english else None


def detect_language(text: str) -> Lang:
    """The language that a text shows, else English."""
    return language_shown(text) or "en"
