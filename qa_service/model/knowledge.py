"""What the knowledge base holds: entries with their claims, and the subjects that it does not cover."""

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from typing import Literal

from qa_service.model.values import Lang, Measured, Params, Text


class Verdict(StrEnum):
    """What the numbers just measured say about a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


PLACEHOLDER = re.compile(r"\[\[([a-z0-9_-]+)\.([a-z0-9_]+)\]\]")
"""[[block.name]] in an answer: the metric or parameter of an evidence block, put in once it is measured."""

Op = Literal["<", "<=", ">", ">=", "==", "!="]
_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence about one metric that can be false, and parameters (`control`) at which it must be.

    `share` is the share of seeds, at least, with which it comes out as stated, at its parameters and at its control.
    """

    id: str
    says: Text
    metric: str
    op: Op
    bound: float
    control: Params
    expected_verdict: Verdict = Verdict.HOLDS
    min_share: float = 1.0

    def judge(self, measured: Measured) -> Verdict:
        """Decide by the numbers alone.

        A metric that is missing leaves the claim unknown. A value of None ("it never happened") fails every
        claim. Comparisons are those of IEEE 754, except that `== nan` asks whether the value is nan.
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
    return bool(_COMPARE[op](value, bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBlock:
    """What an entry asks the lab to measure, and what it claims about the numbers.

    `fixed` parameters keep their value when a question names another number for them.
    """

    id: str
    experiment: str
    params: Params
    fixed: frozenset[str]
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lecture:
    """The source's own question and answer, faithfully kept; `netizens` are remarks of the audience."""

    question: Text | None
    answer: Text
    netizens: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One curated question with its answer, its phrasings and its evidence."""

    id: str
    item: int
    expands: str | None
    question: Text
    lecture: Lecture | None
    answer: Text
    phrasings: Mapping[Lang, tuple[str, ...]]
    evidence: tuple[EvidenceBlock, ...]
    references: tuple[str, ...]
    related: tuple[str, ...]
    hash: str

    def wordings(self, lang: Lang) -> tuple[str, ...]:
        """Every way of asking that we know: our question, the lecture's, the phrasings."""
        asked = (self.lecture.question[lang],) if self.lecture and self.lecture.question else ()
        return tuple(dict.fromkeys((self.question[lang], *asked, *self.phrasings[lang])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What people ask us and we do not cover; `name` stands in a sentence: "this is about …"."""

    id: str
    name: Text
    phrasings: Mapping[Lang, tuple[str, ...]]

    def wordings(self, lang: Lang) -> tuple[str, ...]:
        """Every way of asking that we know."""
        return self.phrasings[lang]
