"""Limits of an entry's parts, so that an answer fits on one screen, and what its evidence must prove."""

import re
from collections.abc import Iterator

from qa_service.model import LANGS, PARTS, PLACEHOLDER, Entry, Lang, Part
from qa_service.patterns import lazy_pattern

MAX_LIVE_NUMBERS = 2
"""The largest number of placeholders in the short answer."""
MAX_STEPS = 5
"""The largest number of steps in what to do."""
MAX_CODE_LINES = 15
"""The largest number of lines of code in what to do, without blank ones."""
_MAX_ROWS = 6
"""The largest number of rows of `tell`, which distinguish the entry from its neighbours."""
MAX_ASPECTS = 5
"""The largest number of aspects, the further questions of an entry."""
MAX_FIRST_CLAIMS = 2
"""The largest number of claims of the first evidence block that prove the short answer."""
MAX_WORDS: dict[Part, dict[Lang, int]] = {
    "short": {"en": 40, "zh": 60},  # of the entry's question and of each aspect
    "do": {"en": 110, "zh": 165},
    "why": {"en": 150, "zh": 225},
    "scope": {"en": 60, "zh": 90},
}
"""Part → the largest number of words in English; in Chinese of characters, a number, formula or Latin word counting as
two.
"""
MAX_CELL_WORDS: dict[Lang, int] = {"en": 16, "zh": 26}
"""The largest length, in the same units, of each side of a row of `tell`."""
MAX_CLUE_WORDS: dict[Lang, int] = {"en": 30, "zh": 60}
"""The largest length, in the same units, of the sentence of a clue."""

_CODE = lazy_pattern(r"```[^\n]*\n(.*?)```", re.DOTALL)
_FORMULA = lazy_pattern(r"\\\(.*?\\\)|\$\$.*?\$\$", re.DOTALL)
_STEP = lazy_pattern(r"^(?:\d+\.|[-*]) ", re.MULTILINE)
_HAN = lazy_pattern(r"[\u3400-\u9fff]")
_LATIN = lazy_pattern(r"[A-Za-z0-9_.^×%°⁻⁰¹²³⁴⁵⁶⁷⁸⁹α-ωΑ-Ω+−=<>≤≥/*]+")
_WORD = lazy_pattern(r"\S*\w\S*")


def length(text: str, lang: Lang) -> int:
    """The length of a text in the units of `MAX_WORDS`, its code left out; a live number or a formula is one word."""
    prose = _FORMULA.sub(" x ", PLACEHOLDER.sub(" 0 ", _CODE.sub(" ", text)))
    if lang == "en":
        return len(_WORD.findall(prose))
    return len(_HAN.findall(prose)) + 2 * len(_LATIN.findall(_HAN.sub(" ", prose)))


def length_problems(entry: Entry) -> Iterator[str]:
    """Everything in which the entry exceeds the limits or lacks a part, one sentence each."""
    if entry.do is None:
        yield "expected a part [do]"
    if entry.expands is None and not entry.part("lecture", "en"):
        yield "expected [lecture.verdicts] in a source entry"
    if len(entry.tell) > _MAX_ROWS:
        yield f"expected at most {_MAX_ROWS} [[tell]], found {len(entry.tell)}"
    if len(entry.aspects) > MAX_ASPECTS:
        yield f"expected at most {MAX_ASPECTS} [[aspect]], found {len(entry.aspects)}"
    for lang in LANGS:
        yield from _too_long(entry, lang)
    yield from _evidence_problems(entry)


def _too_long(entry: Entry, lang: Lang) -> Iterator[str]:
    shorts = [(name, short[lang]) for name, short in entry.short_answers()]
    texts = [(name, written, MAX_WORDS["short"]) for name, written in shorts]
    texts += [(part, entry.part(part, lang), limits) for part, limits in MAX_WORDS.items() if part != "short"]
    for name, written, limits in texts:
        found = length(written, lang)
        if found > limits[lang]:
            yield f"{name}.{lang}: expected at most {limits[lang]} {_unit(lang)}, found {found}"
    for name, written in shorts:
        live = len(PLACEHOLDER.findall(written))
        if live > MAX_LIVE_NUMBERS:
            yield f"{name}.{lang}: expected at most {MAX_LIVE_NUMBERS} live numbers, found {live}"
    do = entry.part("do", lang)
    steps = len(_STEP.findall(_CODE.sub("", do)))
    if steps > MAX_STEPS:
        yield f"do.{lang}: expected at most {MAX_STEPS} steps, found {steps}"
    lines = sum(bool(line.strip()) for code in _CODE.findall(do) for line in code.splitlines())
    if lines > MAX_CODE_LINES:
        yield f"do.{lang}: expected at most {MAX_CODE_LINES} lines of code, found {lines}"
    for row in entry.tell:
        for side, text in (("see", row.see), ("means", row.means)):
            found = length(text[lang], lang)
            if found > MAX_CELL_WORDS[lang]:
                yield f"tell.{side}.{lang}: expected at most {MAX_CELL_WORDS[lang]} {_unit(lang)}, found {found}"


def _evidence_problems(entry: Entry) -> Iterator[str]:
    first = entry.evidence[0]
    proving = [claim for claim in first.claims if claim.proves == "short"]
    if first.proves != "short" or len(proving) > MAX_FIRST_CLAIMS:
        yield (
            f"evidence {first.id}: expected the first block to prove the short answer by at most {MAX_FIRST_CLAIMS} "
            f'claims (give the others proves = "why" or the like), found {len(proving)}'
        )
    for aspect in entry.aspects:
        proof = entry.proof_of(aspect)
        if not any(claim.metric in aspect.quoted_metrics(proof.id) for claim in proof.claims):
            yield f"aspect {aspect.id}: expected a claim of block {proof.id} about a number that it quotes"
    proofs = {first.id, *(one.block for one in entry.aspects)}
    for block in entry.evidence:
        if block.id in proofs and not block.visible:
            yield f"evidence {block.id}: expected visible = the one or two parameters that the question is about"
    for block in entry.evidence:
        if not block.claims:
            yield f"evidence {block.id}: expected a claim about its numbers"
    for block in entry.evidence[1:]:
        if block.proves == "short":
            yield f"evidence {block.id}: expected proves = the part that it proves, one of {', '.join(PARTS[1:])}"


def _unit(lang: Lang) -> str:
    return "words" if lang == "en" else "characters"
