"""Parses questions: language, parameters, single numbers, picks among candidates, and kinds of follow-ups."""

import re
from dataclasses import dataclass

from qa_service.model import Lang, NamedValues
from qa_service.parsing.ordinals import parse_ordinal
from qa_service.parsing.parameters import extract_parameters, single_number
from qa_service.parsing.text import (
    MAX_QUESTION_CHARS,
    check_text,
    detect_language,
    nfkc,
    simplify_chinese,
    summarise_paste,
)

_SHORT_WORDS, _REMARK_WORDS = 8, 16  # a Chinese character counts as a word
_ELLIPTICAL_START = re.compile(
    r"^(?:那|换成|改成|改用|再|还有|如果|and\b|what about|how about|what if|but\b|with\b|in\b|now\b)"
    r"|\binstead\b"
)
_FAILURE_REPORT = re.compile(
    r"(?:也|还是|还|都|依然|仍然?)(?:没有?|无)(?:什么)?(?:用|效果?|变化|改善)|(?:也|还是|依然|仍然?)不(?:行|管用|起作用)$|试过了"
    r"|\b(?:does|did|do)(?: not|n['’]?t) (?:help|work|change anything)\b|\bno (?:effect|luck)\b|\bstill the same\b"
)
_TRAILING_PARTICLE = re.compile(r"呢\s*[?？]?$")
_QUESTION_WORD = re.compile(r"怎|什么|为何|如何|哪|几|多少|是不是|能不能|会不会|要不要|可以|\b(?:why|how|what|which)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuestion:
    """A parsed question."""

    text: str
    """Normalised, as it is matched."""
    lang: Lang
    params: NamedValues
    """The parameters it names, by the names that all experiments share; not checked against any bounds."""
    number: float | None
    """Its only number; None if it has none or several."""
    choice: int | None
    """The candidate it picks, from 1, or -1 for the last; None if it says anything else."""

    @property
    def is_elliptical(self) -> bool:
        """Whether it is incomplete without the question before it: "and in float16?", "那换成加法呢"."""
        text = self.text.lower()
        return bool(
            _ELLIPTICAL_START.search(text) or (_TRAILING_PARTICLE.search(text) and not _QUESTION_WORD.search(text))
        )

    @property
    def reports_failure(self) -> bool:
        """Whether it only reports that a remedy did not help: "调小学习率也没用"."""
        text = self.text.lower()
        return (
            self._word_count <= _REMARK_WORDS and bool(_FAILURE_REPORT.search(text)) and not _QUESTION_WORD.search(text)
        )

    @property
    def is_short(self) -> bool:
        """Whether it has at most 8 words or Chinese characters."""
        return self._word_count <= _SHORT_WORDS

    @property
    def _word_count(self) -> int:
        return len(re.findall(r"[\u3400-\u9fff]|[\w.^-]+", self.text))


def parse_question(question: str, lang: Lang | None = None) -> ParsedQuestion:
    """Parse a question. `lang` overrides the detected language.

    Raises `EmptyQuestion`, `QuestionTooLong` or `BadText`.
    """
    check_text(question)
    unabridged = nfkc(question)
    text = simplify_chinese(summarise_paste(unabridged))
    lower = text.lower()
    choice = parse_ordinal(lower)
    return ParsedQuestion(
        text=text,
        lang=lang or detect_language(unabridged),
        params={} if choice else extract_parameters(lower),
        number=None if choice else single_number(lower),
        choice=choice,
    )


def normalise(text: str) -> str:
    """The text as it is encoded and classified; applied to questions and to phrasings alike."""
    return simplify_chinese(summarise_paste(nfkc(text)))


__all__ = ["MAX_QUESTION_CHARS", "ParsedQuestion", "check_text", "detect_language", "normalise", "parse_question"]
