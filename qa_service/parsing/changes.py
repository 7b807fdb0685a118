"""What a follow-up changes by comparison with what was before it: "再大一点", "double it", "another seed", "again"."""

import re
from dataclasses import dataclass
from typing import Literal

from qa_service.parsing.numerals import numerals_to_digits
from qa_service.patterns import lazy_pattern

_LARGER, _SMALLER, _BIT_LARGER, _BIT_SMALLER = 2.0, 0.5, 1.25, 0.8
_MAX_CHARS = 60  # a longer text says more than that
_UP_COUNT, _DOWN_COUNT = r"多|深|长|more|deeper|longer", r"少|浅|短|fewer|less|shallower|shorter"
_UP = rf"大|高|宽|强|larger|bigger|higher|wider|greater|{_UP_COUNT}"
_DOWN = rf"小|低|窄|弱|smaller|lower|narrower|{_DOWN_COUNT}"
_OPENING = (
    r"(?:(?:那么?|再|把|要是|如果|可以|能不能|能|试试|试|please|and|now|then|make|try|go|with|set|what about|how about"
    r"|what if|what happens if|let['’]?s|use|is|it['’]?s|it|that|this)"
    r"(?:\s+|(?<=[^a-z])|$))*+"  # possessive: 试试试… is read in one way only
)
_CLOSING = (
    r"(?:\s*(?:的话|试试看?|看看|会怎么?样|怎么样|又会?怎么?样|行不行|行吗|可以吗|呢|吧|吗|then|instead|please))*"
    r"\s*[?.!。…]*"
)
_NOUN = r"(?:(?:the|an?(?! (?:little|bit))|my)\s+)?(?P<noun>[\w\u4e00-\u9fff]{0,12}?(?: [a-z]+)??)"
_COMPARATIVE = lazy_pattern(
    rf"{_OPENING}{_NOUN}\s*(?:再|还要?|更|变|调|改|加|取|弄|设|是|is|were|was)*\s*"
    rf"(?P<little>(?:just )?(?:a (?:little )?bit|a little|slightly|somewhat) )?(?:even |much |a lot )?"
    rf"(?:(?P<up>{_UP})|(?P<down>{_DOWN}))(?:\s+(?P<noun_after>[a-z]+(?: [a-z]+)?))?"
    rf"(?P<bit>一?点点?儿?|一?些|几[个层步]|许多|很多)?{_CLOSING}"
)
_MARKED_ZH = lazy_pattern(r"再|更|点|些|加[大多深]|调[大小高低]|改[大小]")
_MULTIPLE = lazy_pattern(
    rf"{_OPENING}{_NOUN}\s*(?:再|变成?|改成?|乘以?|放大|增加?到?|加到|to|by|is|were)*\s*"
    r"(?:(?P<double>翻倍|翻一番|加倍|double(?:d|s)?|twice)|(?P<half>减半|砍半|(?:一|原来的)半|halve[ds]?|half)"
    r"|(?P<times>\d{1,4}(?:\.\d+)?)\s*(?:倍|x(?![a-z])|times))"
    r"(?: (?:larger|bigger|higher|more|as (?:large|many|much|big|deep|wide|high)))?"
    rf"(?: (?:of )?(?:it|that|this|the (?P<noun_after>[a-z]+)))?{_CLOSING}"
)
_SEED = r"(?:随机)?种子|(?:random )?seeds?"
_SEED_NUMBER = lazy_pattern(
    rf"{_OPENING}(?:换|改|用|取|设)?(?:成|为)?\s*(?:{_SEED})\s*(?:换|改|用|取|设|调)?(?:成|为|到)?\s*(?:=|:|是|to|of)?\s*"
    rf"(?P<number>\d{{1,9}}){_CLOSING}"
)
_SEED_OTHER = lazy_pattern(
    rf"{_OPENING}(?:换|改|再换|另外?|重新?|再(?:来|试|跑))[一1]?[个次]?\s*(?:别的|其他的?|不同的|新的?)?\s*(?:{_SEED}){_CLOSING}"
    rf"|{_OPENING}(?:run |roll |it |on |for |with )*(?:an?other|a (?:different|new)|the next|other|new|different) "
    rf"(?:random )?seed{_CLOSING}"
)
_SEED_COUNT = lazy_pattern(
    rf"{_OPENING}(?:换|用|跑|run |it |on |over |for |with |at )*\s*(?P<count>\d{{1,2}}|two|three|five|ten)\s*[个组]?"
    rf"(?:不同的?|different |other |random )?\s*(?:{_SEED})(?:各?跑一?[次遍下])?{_CLOSING}"
)
_COUNTS = {"two": 2, "three": 3, "five": 5, "ten": 10}
_AGAIN = lazy_pattern(
    r"(?:请|麻烦|再|重新?|please |now |just |and )*(?:(?:来|跑|试|做|算|运行|执行)(?:[一1][次遍下个])?"
    r"|run (?:it|that|this) "
    rf"again|again|(?:once|one) (?:more|again)(?: time)?"
    r"|(?:run|do|try) (?:it |that )?once more|re-?run(?: it)?|repeat(?: it)?)"
    rf"{_CLOSING}"
)
_CHART = lazy_pattern(
    r"(?:能不能|可以|能|请|给我|帮我|再|把)*(?:画|看|放|给)(?:个|一个|一张|张|一下|出)*(?:图表?|曲线图?)(?:出来|看看?)?"
    r"|(?:can you |could you |please )*(?:show|plot|draw|give)(?: me| us)?(?: (?:a|the|it|this|that))?"
    r"(?: (?:chart|plot|figure|graph|curve|picture)s?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaling:
    """A number is to be larger or smaller than it was: "再大一点", "double the layers"."""

    factor: float
    noun: str = ""
    """What is to change, as it is called; "" where the text does not say."""
    counts: bool = False
    """Whether the words speak of a number of things: 多, deeper, fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reseeding:
    """Another seed, or several: `number` if it is named, else the next; `count` of seeds from there on."""

    number: int | None = None
    count: int = 1


def read_rescaling(text: str) -> Rescaling | None:
    """The rescaling that a text asks for and nothing else; None for any other. Expects lower-case NFKC text."""
    if len(text) > _MAX_CHARS:
        return None
    if match := _MULTIPLE.fullmatch(numerals_to_digits(text)):
        factor = 2.0 if match["double"] else 0.5 if match["half"] else float(match["times"])
        return Rescaling(factor=factor, noun=_noun(match)) if factor > 0 else None
    match = _COMPARATIVE.fullmatch(text)
    if match is None or (re.search(r"[\u4e00-\u9fff]", text) and not _MARKED_ZH.search(text)):
        return None
    little = bool(match["little"]) or (match["bit"] or "").endswith(("点", "些", "儿"))
    up = match["up"] is not None
    factor = (_BIT_LARGER if up else _BIT_SMALLER) if little else (_LARGER if up else _SMALLER)
    word = match["up"] or match["down"]
    return Rescaling(factor=factor, noun=_noun(match), counts=bool(re.fullmatch(rf"{_UP_COUNT}|{_DOWN_COUNT}", word)))


def _noun(match: re.Match[str]) -> str:
    return (match["noun"] or match["noun_after"] or "").strip()


def read_reseeding(text: str) -> Reseeding | None:
    """The seeds that a text asks for and nothing else; None for any other. Expects lower-case NFKC text."""
    if len(text) > _MAX_CHARS:
        return None
    digits = numerals_to_digits(text)
    if match := _SEED_NUMBER.fullmatch(digits):
        return Reseeding(number=int(match["number"]))
    if _SEED_OTHER.fullmatch(text):
        return Reseeding()
    if match := _SEED_COUNT.fullmatch(digits):
        return Reseeding(number=0, count=_COUNTS.get(match["count"]) or int(match["count"]))
    return None


def asks_again(text: str) -> Literal["run", "chart", ""]:
    """Whether a text asks for nothing but the same once more ("再跑一次"), or its chart; "" for any other."""
    if len(text) > _MAX_CHARS:
        return ""
    if _AGAIN.fullmatch(text):
        return "run"
    return "chart" if re.fullmatch(rf"(?:{_CHART.pattern}){_CLOSING}", text) else ""
