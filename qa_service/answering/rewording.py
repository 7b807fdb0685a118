"""The sentences of an entry in other words, by a language model that the operator has named; numbers stay measured.

The model gets sentences with their placeholders unfilled, so it sees no measured value, and gives each one back in
other words. A rewording is taken only if it has the placeholders of its sentence and no number, name, formula, code or
verdict that its sentence does not have, says no direction that it does not say, and is negated where it is. Otherwise
the entry's own sentence stands; and if too few are taken, none is. Such rules cannot detect a false statement made of
permitted words; so the result is shown beside the entry's text, never instead of it, with the model's name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from qa_service.model import PLACEHOLDER, Entry, Evidence, Lang, RunStatus, Verdict
from qa_service.presentation.prose import fill_text

MIN_ACCEPTED_SHARE = 0.6
"""The share of sentences whose rewording must be taken for any of them to be shown."""
MAX_SENTENCES, _MAX_GROWTH, _MAX_EXTRA = 12, 2, 60  # of an answer; of the characters of a sentence

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_MARKED = re.compile(PLACEHOLDER.pattern)
_FORMULA_OR_CODE = re.compile(r"\\\(.*?\\\)|\$\$.*?\$\$|`[^`]*`", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]+[A-Za-z_.-]*\d[\w.]*|\b[A-Z]{2,}\b|\b\w+_\w+\b")
_DIGITS = re.compile(r"[\d\u00bc-\u00be\u2070-\u209f\u2150-\u218f\u2460-\u24ff][\d.,]*|[%‰∞×²³√±]")
_NUMERAL_ZH = re.compile(r"[零〇二两三四五六七八九十百千万亿半倍]+|一(?=[百千万亿倍半成点分])|翻番|无穷|非数")
_NUMERAL_EN = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundreds?|thousands?|millions?|billions?|half|halves|halved|twice|"
    r"twofold|\w+fold|doubl\w*|tripl\w*|thirds?|quarters?|tenths?|dozens?|percent|per\s+cent|inf|infinit\w*|nan|first|"
    r"second|once|thrice)\b",
    re.IGNORECASE,
)
_VERDICT = re.compile(
    r"✓|✗|\b(?:holds?|held|fails?|failed|verified|proven|confirmed|refuted)\b|成立|证实|推翻", re.IGNORECASE
)
_UNWANTED = re.compile(r"https?:|www\.|</?\w|!\[|\]\(|[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|neither|nor|cannot|without|hardly|unable|impossible)\b|n['’]t\b|[不没無无非未莫勿]",
    re.IGNORECASE,
)
_DIRECTIONS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "up": r"\b(?:grow|grew|increas|larg|great|more|high|rise|rising|rose|above|exceed|big|explo|gain|up)\w*"
        r"|增|更?大|变大|更?多|更?高|超过|爆炸|上升",
        "down": r"\b(?:shr[iu]nk|decreas|small|less|low|fall|fell|below|reduc|vanish|los[es]|drop|down|few)\w*"
        r"|减|更?小|更?少|更?低|消失|下降|不到",
        "overflow": r"\boverflow\w*|上溢|(?<!下)溢出",
        "underflow": r"\bunderflow\w*|下溢",
        "good": r"\b(?:stable|safe|exact|accurate|right|correct|precise)\w*|稳定|安全|精确|准确|正确",
        "bad": r"\b(?:unstable|unsafe|wrong|inexact|inaccurate|incorrect|broken|danger)\w*|错|危险|不稳",
        "fast": r"\b(?:fast|quick|exponential)\w*|快|指数",
        "slow": r"\b(?:slow|linear)\w*|慢|线性",
        "always": r"\b(?:always|every|all|any|only)\b|总是|永远|全部|所有|任何|只有|仅",
    }.items()
}


class Writer(Protocol):
    """Gives sentences back in other words."""

    @property
    def model(self) -> str:
        """The name of the model."""

    def reword(self, question: str, sentences: Sequence[str], lang: Lang) -> list[str | None]:
        """One rewording for each sentence, None where there is none. Never raises and takes a bounded time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewording:
    """An answer reworded by a model, and how many of its sentences passed the rules."""

    text: str
    """The sentences with their measured numbers; "" if too few passed."""
    model: str
    kept: int
    """How many sentences are the model's."""
    sentences: int
    refused: tuple[str, ...]
    """Why each of the other sentences was left as it is in the entry: one word for each, in order."""


def reword(question: str, entry: Entry, evidence: Sequence[Evidence], lang: Lang, writer: Writer) -> Rewording:
    """The short answer and the reasons of an entry in the words of `writer`, with the numbers of `evidence`."""
    own = sentences_of(entry, evidence, lang)
    offered = writer.reword(question, own, lang)
    offered += [None] * (len(own) - len(offered))
    reasons = [_why_refused(mine, theirs) for mine, theirs in zip(own, offered, strict=False)]
    taken = [theirs if not why else mine for mine, theirs, why in zip(own, offered, reasons, strict=False)]
    kept = reasons.count("")
    text = ""
    if own and kept >= MIN_ACCEPTED_SHARE * len(own):
        between = "" if lang == "zh" else " "
        text = fill_text(between.join(str(each).strip() for each in taken), entry, evidence, lang)
    return Rewording(
        text=text,
        model=writer.model,
        kept=kept if text else 0,
        sentences=len(own),
        refused=tuple(why for why in reasons if why),
    )


def sentences_of(entry: Entry, evidence: Sequence[Evidence], lang: Lang) -> list[str]:
    """The sentences of the short answer, then of the reasons, that may be reworded.

    They are prose (no list, table, heading, code, formula on a line of its own), and what they quote was measured and
    does not contradict a claim.
    """
    measured = {one.block for one in evidence if one.run.status is RunStatus.RAN}
    doubtful = {
        (one.block, claim.metric)
        for one in evidence
        for claim, verdict in zip(one.claims, one.verdicts, strict=True)
        if verdict is not Verdict.HOLDS
    }
    paragraphs = "\n\n".join(filter(None, (entry.short[lang], entry.why[lang] if entry.why else ""))).split("\n\n")
    prose = [
        " ".join(each.split())
        for each in paragraphs
        if each.strip()
        and not re.match(r"\s*(?:[-*|#>]|\d+\.|```|\$\$)", each)
        and "```" not in each
        and "$$" not in each
    ]
    found = [each.strip() for paragraph in prose for each in _BETWEEN_SENTENCES.split(paragraph) if each.strip()]
    quoted = [{(block, name) for block, name, *_ in _MARKED.findall(each)} for each in found]
    return [
        each
        for each, names in zip(found, quoted, strict=True)
        if not doubtful & names and {block for block, _ in names} <= measured
    ][:MAX_SENTENCES]


def _why_refused(own: str, offered: str | None) -> str:
    """The reason why a rewording is not taken; "" if it is."""
    if not offered or not offered.strip():
        return "missing"
    if len(offered) > _MAX_GROWTH * len(own) + _MAX_EXTRA:
        return "length"
    if _UNWANTED.search(offered):
        return "markup"
    if sorted(_tokens(_MARKED, own)) != sorted(_tokens(_MARKED, offered)):
        return "placeholder"
    own, offered = _MARKED.sub(" ", own), _MARKED.sub(" ", offered)
    if "[[" in offered or "]]" in offered:
        return "placeholder"
    if not set(_FORMULA_OR_CODE.findall(offered)) <= set(_FORMULA_OR_CODE.findall(own)):
        return "formula"
    own, offered = _FORMULA_OR_CODE.sub(" ", own), _FORMULA_OR_CODE.sub(" ", offered)
    for pattern, reason in (
        (_NAME, "name"),
        (_DIGITS, "number"),
        (_NUMERAL_ZH, "number"),
        (_NUMERAL_EN, "number"),
        (_VERDICT, "verdict"),
    ):
        if not _lowered(pattern, offered) <= _lowered(pattern, own):
            return reason
    if bool(_NEGATION.search(own)) != bool(_NEGATION.search(offered)):
        return "negation"
    says = {name for name, pattern in _DIRECTIONS.items() if pattern.search(offered)}
    return "" if says <= {name for name, pattern in _DIRECTIONS.items() if pattern.search(own)} else "direction"


def _tokens(pattern: re.Pattern[str], text: str) -> list[str]:
    return [found[0] for found in pattern.finditer(text)]


def _lowered(pattern: re.Pattern[str], text: str) -> set[str]:
    return {found[0].lower().rstrip(".,") for found in pattern.finditer(text)}
