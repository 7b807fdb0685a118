"""Questions and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from qa_service.model.evidence import Evidence
from qa_service.model.knowledge import Entry, Subject
from qa_service.model.values import Lang, NamedValues, Params, Text, Value

MAX_CANDIDATES = 3
"""How many of the nearest entries a reader may choose from when none is clear."""
MAX_SEEDS = 20
"""With how many seeds one request may repeat its experiments."""


class AnswerStatus(StrEnum):
    """What the service makes of a question."""

    ANSWERED = "answered"
    CLARIFY = "clarify"
    NOT_COVERED = "not_covered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An entry found: the calibrated probability that it answers, which wording was met, and what spoke for it.

    `reasons` are terms of the question with their weights, weightiest first; the term "" is its meaning as a whole.
    """

    entry: Entry
    score: float
    phrasing: str
    reasons: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a follow-up needs to know of the answer before it; without an entry, the `candidates` it offered."""

    entry: str | None
    params: NamedValues
    lang: Lang
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question with what the reader fixed about it.

    `blocks` limits the evidence to these blocks. `compare` runs an experiment once for each value of a parameter, all
    else alike; no values stand for all its choices. `seeds` repeats every run with that many seeds, from `seed` on.
    """

    question: str
    lang: Lang | None = None
    params: Params = field(default_factory=dict)
    compare: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    seed: int = 0
    seeds: int = 1
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
    params: NamedValues
    notes: tuple[Text, ...] = ()
    subject: Subject | None = None
    related: tuple[Entry, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def context(self) -> Context:
        """What a follow-up sends back."""
        if self.entry is not None:
            return Context(entry=self.entry.id, params=self.params, lang=self.lang)
        offered = tuple(match.entry.id for match in self.matches[:MAX_CANDIDATES])
        return Context(entry=None, params=self.params, lang=self.lang, candidates=offered)
