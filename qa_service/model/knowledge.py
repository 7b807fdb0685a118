"""The contents of the knowledge base: entries with their claims, and subjects that it does not cover."""

import operator
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isnan
from typing import Literal, get_args

from qa_service.model.observation import Sign
from qa_service.model.values import Lang, MetricValues, Params, Text


class Verdict(StrEnum):
    """The outcome of testing a claim against measured numbers."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


PLACEHOLDER = re.compile(r"\[\[([a-z0-9_-]+)\.([a-z0-9_]+)(?:\|(percent|ordinal|yes_no))?\]\]")
"""[[block.name]] or [[block.name|form]] in a text: that metric or parameter of the evidence block, once it is measured.

The forms write a fraction as per cent, a step as an ordinal, 1 and 0 as yes and no.
"""

Part = Literal["short", "do", "tell", "why", "scope", "lecture"]
PARTS: tuple[Part, ...] = get_args(Part)
"""The parts of an answer, in the order in which they are read."""
FIRST_PARTS: tuple[Part, ...] = ("short", "do", "tell")
"""The parts that every front shows before anything else; the others are folded."""

Op = Literal["<", "<=", ">", ">=", "==", "!="]
_OPERATORS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence about one metric that can be false: `metric op bound`."""

    id: str
    says: Text
    metric: str
    op: Op
    bound: float
    control: Params
    """Parameters, replacing some of the block's, at which the verdict must be the opposite of the expected one."""
    expected_verdict: Verdict = Verdict.HOLDS
    min_share: float = 1.0
    """The least share of seeds with the expected verdict at the entry's parameters, and with the opposite one at the
    control."""
    proves: Part = "short"
    """The part of the answer that this claim supports."""

    def judge(self, measured: MetricValues) -> Verdict:
        """The verdict of comparing the metric with the bound.

        It is UNKNOWN if the metric is missing, FAILS if it is None ("it never happened"). Comparisons follow IEEE 754,
        except that `== nan` tests whether the value is nan, and `!= nan` whether it is not.
        """
        if self.metric not in measured:
            return Verdict.UNKNOWN
        value = measured[self.metric]
        if value is None:
            return Verdict.FAILS
        return Verdict.HOLDS if _compare(value, self.op, self.bound) else Verdict.FAILS


def _compare(value: float, op: Op, bound: float) -> bool:
    if isnan(bound):
        return isnan(value) if op == "==" else not isnan(value) if op == "!=" else False
    return bool(_OPERATORS[op](value, bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBlock:
    """An experiment that an entry runs, with its parameters, and the claims about its metrics."""

    id: str
    experiment: str
    """The slug of the experiment."""
    params: Params
    fixed: frozenset[str]
    """Parameters that keep their value when a question names another."""
    claims: tuple[Claim, ...]
    proves: Part = "short"
    """The part of the answer that this block supports."""
    visible: tuple[str, ...] = ()
    """The one or two parameters that the question is about; all others are folded."""
    series: tuple[str, ...] = ()
    """The series that the chart shows, at most three; empty means all."""
    mark: str | None = None
    """A metric whose value is marked on the x axis of the chart."""

    def proving(self, quoted: Collection[str]) -> "EvidenceBlock":
        """The block as proof of a short answer: claims about the `quoted` metrics prove "short", the others "why"."""
        claims = (
            replace(claim, proves="short") if claim.metric in quoted else claim for claim in self.proving_why().claims
        )
        return replace(self, proves="short", claims=tuple(claims))

    def proving_why(self) -> "EvidenceBlock":
        """The block if another one proves the short answer: what proved "short" proves "why"."""
        claims = (replace(claim, proves="why") if claim.proves == "short" else claim for claim in self.claims)
        return replace(self, proves="why" if self.proves == "short" else self.proves, claims=tuple(claims))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lecture:
    """The lecture's own question and answer, verbatim; `netizens` are remarks of its audience."""

    question: Text | None
    answer: Text
    netizens: Text | None = None
    verdicts: Text | None = None
    """The lecture sentence by sentence, each with a verdict; Markdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinction:
    """A row of `tell`: what is seen, and which cause or neighbouring question it means."""

    see: Text
    means: Text
    entry: str | None = None
    """Id of the entry that proves and cures it."""
    signs: tuple[Sign, ...] = ()
    """Observations that speak for it."""
    excluded_by: tuple[Sign, ...] = ()
    """Observations that rule it out."""

    def text(self, lang: Lang) -> str:
        """What is seen, what it means, and the entry for it in brackets, on one line."""
        entry = "" if self.entry is None else f"（{self.entry}）" if lang == "zh" else f" ({self.entry})"
        return f"{self.see[lang]} → {self.means[lang]}{entry}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """A further question on the topic of an entry, with a short answer of its own; the other parts are the entry's."""

    id: str
    """Unique in the entry; part of addresses."""
    question: Text
    short: Text
    block: str | None
    """Id of the evidence block that proves the short answer; None means the entry's first block."""
    phrasings: Mapping[Lang, tuple[str, ...]]

    def wordings(self, lang: Lang) -> tuple[str, ...]:
        """Every known wording of its question."""
        return (self.question[lang], *self.phrasings[lang])

    def quoted_metrics(self, block_id: str) -> frozenset[str]:
        """The metrics and parameters of a block that the short answer quotes."""
        return frozenset(name for block, name, _ in PLACEHOLDER.findall(self.short.en) if block == block_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """The record of a check in which every claim of an entry held, and failed at its control, as the entry states."""

    on: str
    """The date, as 2026-11-29."""
    seeds: int
    versions: Mapping[str, str]
    """Library → version."""
    current: bool
    """False if a claim, a parameter or the code of an experiment has changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One curated question with its answer, its phrasings and its evidence."""

    id: str
    item: int
    """The number of the lecture's item."""
    expands: str | None
    """Id of the entry that this one expands; None for the entry of an item."""
    question: Text
    lecture: Lecture | None
    short: Text
    """The answer in words, complete in itself; Markdown, like the parts below."""
    do: Text | None
    """What to do, in order."""
    tell: tuple[Distinction, ...]
    """How to distinguish it from similar problems; for a symptom, its causes."""
    why: Text
    """The mechanism, with the formula."""
    scope: Text | None
    """Where the answer does not hold."""
    signs: tuple[Sign, ...]
    """The observations that this entry is about."""
    excluded_by: tuple[Sign, ...]
    """The observations that rule it out."""
    phrasings: Mapping[Lang, tuple[str, ...]]
    evidence: tuple[EvidenceBlock, ...]
    references: tuple[str, ...]
    related: tuple[str, ...]
    """Ids of related entries."""
    hash: str
    """SHA-256 of the file, hexadecimal."""
    checked: CheckRecord | None = None
    """The last check of the claims; None if they have not been checked over several seeds."""
    aspects: tuple[Aspect, ...] = ()
    """Further questions that it answers."""
    aspect: str = ""
    """Id of the aspect that `question`, `short` and the first block belong to (`focused_on`); "" for its own question.
    """
    unfocused: "Entry | None" = None
    """For an entry focused on an aspect, the entry as the answer to its own question; else None."""

    def part(self, part: Part, lang: Lang) -> str:
        """The text of a part, "" if the entry has none. Rows of `tell` are list items "see → means (entry)"."""
        match part:
            case "short":
                return self.short[lang]
            case "do":
                return self.do[lang] if self.do else ""
            case "tell":
                return "\n".join(f"- {each.text(lang)}" for each in self.tell)
            case "why":
                return self.why[lang]
            case "scope":
                return self.scope[lang] if self.scope else ""
            case "lecture":
                verdicts = self.lecture.verdicts if self.lecture else None
                return verdicts[lang] if verdicts else ""

    def quoted_blocks(self, parts: Collection[Part]) -> tuple[EvidenceBlock, ...]:
        """The evidence blocks that the texts of these parts quote, and the first block, which proves `short`."""
        ids = {name for part in parts for name, *_ in PLACEHOLDER.findall(self.part(part, "en"))}
        return tuple(block for nth, block in enumerate(self.evidence) if block.id in ids or nth == 0)

    def short_blocks(self) -> tuple[EvidenceBlock, ...]:
        """The evidence blocks that the short answer quotes, and the first block, which proves it."""
        return self.quoted_blocks(FIRST_PARTS[:1])

    def text(self, lang: Lang) -> str:
        """All parts, one after the other, without headings."""
        return "\n\n".join(text for part in PARTS if (text := self.part(part, lang)))

    def wordings(self, lang: Lang) -> tuple[str, ...]:
        """Every known wording of its questions: the entry's, the lecture's, the phrasings, those of its aspects."""
        lecture = (self.lecture.question[lang],) if self.lecture and self.lecture.question else ()
        of_aspects = (text for one in self.aspects for text in one.wordings(lang))
        return tuple(dict.fromkeys((self.question[lang], *lecture, *self.phrasings[lang], *of_aspects)))

    def all_phrasings(self, lang: Lang) -> tuple[str, ...]:
        """The phrasings of the entry and of its aspects."""
        return (*self.phrasings[lang], *(text for one in self.aspects for text in one.phrasings[lang]))

    def proof_of(self, aspect: Aspect) -> EvidenceBlock:
        """The evidence block that proves the short answer of an aspect."""
        return next(block for block in self.evidence if block.id == (aspect.block or self.evidence[0].id))

    @property
    def address(self) -> str:
        """The URL path of its page, which chooses the language by Accept-Language."""
        return f"/entries/{self.id}" + (f"?aspect={self.aspect}" if self.aspect else "")

    def address_in(self, lang: Lang) -> str:
        """The URL path of its page in `lang`."""
        return f"{self.address}{'&' if self.aspect else '?'}lang={lang}"

    def short_answers(self) -> Iterator[tuple[str, Text]]:
        """Each short answer with its name: "short", "aspect ID"."""
        yield "short", self.short
        yield from ((f"aspect {one.id}", one.short) for one in self.aspects)

    def focused_on(self, aspect_id: str) -> "Entry":
        """A view of the entry as the answer to the question of an aspect, with the aspect's proof as the first block.

        For an unknown id it is the view for the entry's own question.
        """
        own = self.unfocused or self
        aspect = next((one for one in self.aspects if one.id == aspect_id), None)
        if aspect is None:
            return own
        return replace(
            own,
            question=aspect.question,
            short=aspect.short,
            evidence=_proof_first(own, aspect),
            aspect=aspect.id,
            unfocused=own,
        )

    def other_views(self) -> tuple["Entry", ...]:
        """The views of the entry for its other questions: its own and those of its aspects, without this one."""
        own = self.unfocused or self
        views = (own, *(own.focused_on(one.id) for one in own.aspects))
        return tuple(view for view in views if view.aspect != self.aspect)


def _proof_first(entry: Entry, aspect: Aspect) -> tuple[EvidenceBlock, ...]:
    """The entry's blocks, with the one that proves the short answer of the aspect first."""
    proof = entry.proof_of(aspect)
    others = (block.proving_why() for block in entry.evidence if block is not proof)
    return (proof.proving(aspect.quoted_metrics(proof.id)), *others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A topic that people ask about and no entry covers."""

    id: str
    name: Text
    """A noun phrase for the sentence "this seems to be about …"."""
    phrasings: Mapping[Lang, tuple[str, ...]]

    def wordings(self, lang: Lang) -> tuple[str, ...]:
        """Every known wording."""
        return self.phrasings[lang]
