"""Parses a reply that picks one of the questions offered: "第二个", "the second one", "2"."""

from qa_service.patterns import lazy_pattern

_ORDINAL_ZH = lazy_pattern(
    r"(?:我?(?:就|要|选|想问|问的是|指的?是?))*\s*"
    r"(?:第\s*([一二三123])\s*(?:个|条|项|种|题)?|(最后)一?个?)\s*(?:问题)?[。.!吧]*"
)
_ORDINAL_EN = lazy_pattern(
    r"(?:i (?:mean|meant|choose|want) )?(?:the )?(first|1st|second|2nd|third|3rd|last)"
    r"(?: (?:one|question|option|entry|choice))?(?:,? please)?[.!]*"
)
_NUMBER_ONLY = lazy_pattern(r"(?:选|option|number|no\.?|choice|#)?\s*([123])[.!。]?")
_POSITIONS = {
    "一": 1, "二": 2, "三": 3, "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "last": -1, "最后": -1
}  # fmt: skip


def parse_ordinal(text: str) -> int | None:
    """The position that a text picks, from 1, or -1 for the last; None for any other text. Expects lower case."""
    for pattern in (_ORDINAL_ZH, _ORDINAL_EN, _NUMBER_ONLY):
        match = pattern.fullmatch(text.strip())
        if match:
            word = next(word for word in match.groups() if word)
            return _POSITIONS[word] if word in _POSITIONS else int(word)
    return None
