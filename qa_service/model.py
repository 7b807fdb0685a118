"""The values everything else passes around. Frozen, standard library only, no input or output.

The words are those of the glossary (CONTRIBUTING): an *entry* answers a question; an *experiment* measures
*metrics*; a *claim* is a sentence about one metric that can be false; a *run* is one execution; *evidence* is a
run with the verdicts on the claims.
"""

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isnan
from typing import Any, Literal

Lang = Literal["zh", "en"]
LANGS: tuple[Lang, ...] = ("zh", "en")
Value = float | int | str | bool
"""A parameter's value."""
Params = Mapping[str, Value]
Named = Mapping[str, Value | tuple[Value, ...]]
"""What a question names; a tuple where it compares several values of one parameter."""
Cell = float | int | str | bool | None
"""One cell of a row: a number (inf and nan are citizens), a word, or nothing."""
Row = Mapping[str, Cell]
Measured = Mapping[str, float | int | None]
"""Metric → value; None means that there is no such value (it never overflowed)."""


@dataclass(frozen=True, slots=True)
class Text:
    """The same thing said natively in both languages."""

    zh: str
    en: str

    def __getitem__(self, lang: Lang) -> str:
        return self.zh if lang == "zh" else self.en


class Verdict(StrEnum):
    """What the numbers just measured say about a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


class Status(StrEnum):
    """How a run ended."""

    RAN = "ran"
    RAISED = "raised"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"


class AnswerStatus(StrEnum):
    """What the service makes of a question."""

    ANSWERED = "answered"
    CLARIFY = "clarify"
    NOT_COVERED = "not_covered"


PLACEHOLDER = re.compile(r"\[\[([a-z0-9_-]+)\.([a-z0-9_]+)\]\]")
"""[[block.name]] in an answer: the metric or parameter of an evidence block, put in once it is measured."""

Op = Literal["<", "<=", ">", ">=", "==", "!="]
_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence about one metric that can be false, and parameters (`control`) at which it must be."""

    id: str
    says: Text
    metric: str
    op: Op
    bound: float
    control: Params
    stated: Verdict = Verdict.HOLDS

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A typed, bounded input of an experiment. `choices` for words; `ge`/`le` for numbers, both included."""

    name: str
    kind: Literal["int", "float", "bool", "choice"]
    default: Value
    title: Text
    unit: str = "1"
    ge: float | None = None
    le: float | None = None
    nonfinite: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What a metric or a column of rows is called, and its unit."""

    title: Text
    unit: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on parameters together: their product at most `le`, or the first below the second (`ascending`)."""

    names: tuple[str, ...]
    le: float | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What a demo file offers, read from its text without running it. `words` are those that rows hold as values."""

    slug: str
    path: str
    title: Text
    doc: str
    params: Mapping[str, Parameter]
    limits: tuple[Limit, ...]
    columns: Mapping[str, Quantity]
    metrics: Mapping[str, Quantity]
    words: Mapping[str, Text]
    chart: Mapping[str, Any]
    source: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An entry found: the calibrated probability that it answers, and which wording was met."""

    entry: Entry
    score: float
    phrasing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of an experiment. `note` says in both languages why it did not finish."""

    status: Status
    measured: Measured = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    note: Text = Text("", "")
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run with the parameters it had, the claims made about it and the verdicts on them."""

    block: str
    experiment: Experiment
    params: Params
    seed: int
    run: Run
    claims: tuple[Claim, ...] = ()
    entry_hash: str | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict per claim; unknown wherever the run did not finish."""
        if self.run.status is not Status.RAN:
            return (Verdict.UNKNOWN,) * len(self.claims)
        return tuple(claim.judge(self.run.measured) for claim in self.claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a follow-up needs to know of the answer before it."""

    entry: str
    params: Named
    lang: Lang


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question with what the reader fixed about it. `blocks` limits the evidence to these blocks."""

    question: str
    lang: Lang | None = None
    params: Params = field(default_factory=dict)
    seed: int = 0
    entry: str | None = None
    blocks: tuple[str, ...] | None = None
    run: bool = True
    context: Context | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the reader gets: who answers, how sure we are, and the evidence once it is there.

    `subject` names what a question that is not covered is about, where we can tell.
    """

    id: str
    status: AnswerStatus
    lang: Lang
    question: str
    entry: Entry | None
    confidence: float
    matches: tuple[Match, ...]
    params: Named
    notes: tuple[Text, ...] = ()
    subject: Subject | None = None
    related: tuple[Entry, ...] = ()
    evidence: tuple[Evidence, ...] = ()
