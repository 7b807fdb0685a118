"""What a question says besides its meaning: its language, and the numbers and names that are parameters."""

import re
from dataclasses import dataclass

from qa_service.model import Lang, NamedValues
from qa_service.parsing.ordinals import parse_ordinal
from qa_service.parsing.parameters import extract_parameters, single_number
from qa_service.parsing.text import LONGEST, check_text, language, nfkc, simplified, summarise_paste

_SHORT, _REMARK = 8, 16  # words, and Chinese characters
_ELLIPTIC = re.compile(
    r"^(?:那|换成|改成|改用|再|还有|如果|and\b|what about|how about|what if|but\b|with\b|in\b|now\b)"
    r"|\binstead\b"
)
_IN_VAIN = re.compile(
    r"(?:也|还是|还|都|依然|仍然?)(?:没有?|无)(?:什么)?(?:用|效果?|变化|改善)|(?:也|还是|依然|仍然?)不(?:行|管用|起作用)$|试过了"
    r"|\b(?:does|did|do)(?: not|n['’]?t) (?:help|work|change anything)\b|\bno (?:effect|luck)\b|\bstill the same\b"
)
_TRAILS_OFF = re.compile(r"呢\s*[?？]?$")
_ASKS = re.compile(r"怎|什么|为何|如何|哪|几|多少|是不是|能不能|会不会|要不要|可以|\b(?:why|how|what|which)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuestion:
    """A question, read: its text as it is matched, its language, the parameters it names.

    `number` is its only number if it has one; `choice` the place of the candidate it picks, if it does nothing else.
    """

    text: str
    lang: Lang
    params: NamedValues
    number: float | None
    choice: int | None

    @property
    def is_elliptical(self) -> bool:
        """Whether it only makes sense after another question: "and in float16?", "那换成加法呢"."""
        text = self.text.lower()
        return bool(_ELLIPTIC.search(text) or (_TRAILS_OFF.search(text) and not _ASKS.search(text)))

    @property
    def reports_failure(self) -> bool:
        """Whether it says, and asks no more, that something was tried and did not help: "调小学习率也没用"."""
        text = self.text.lower()
        return self._words <= _REMARK and bool(_IN_VAIN.search(text)) and not _ASKS.search(text)

    @property
    def is_short(self) -> bool:
        """A remark rather than a question of its own."""
        return self._words <= _SHORT

    @property
    def _words(self) -> int:
        return len(re.findall(r"[\u3400-\u9fff]|[\w.^-]+", self.text))


def parse_question(question: str, lang: Lang | None = None) -> ParsedQuestion:
    """Raises `EmptyQuestion`, `QuestionTooLong` or `BadText`."""
    check_text(question)
    whole = nfkc(question)
    text = simplified(summarise_paste(whole))
    lower = text.lower()
    picks = parse_ordinal(lower)
    return ParsedQuestion(
        text=text,
        lang=lang or language(whole),
        params={} if picks else extract_parameters(lower),
        number=None if picks else single_number(lower),
        choice=picks,
    )


def normalise(text: str) -> str:
    """A text as questions are matched: the same for a phrasing and for a question that is written like it."""
    return simplified(summarise_paste(nfkc(text)))


__all__ = ["LONGEST", "Reading", "check_text", "language", "matched", "read"]
