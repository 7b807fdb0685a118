"""Requests and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import urlencode

from qa_service.model.clue import FoundClue
from qa_service.model.diagnosis import Diagnosis
from qa_service.model.evidence import Evidence
from qa_service.model.knowledge import Entry, Part, Subject
from qa_service.model.observation import Observation
from qa_service.model.values import Lang, NamedValues, Params, Text, Value

MAX_CANDIDATES = 3
"""The largest number of entries offered for choice when none matches clearly."""
MAX_SEEDS = 20
"""The largest number of seeds with which one request may repeat its experiments."""
MAX_RUNS = 200
"""The largest number of runs of one request: its blocks and companions, times the values compared, times the seeds."""


class AnswerStatus(StrEnum):
    """How the service responds to a question."""

    ANSWERED = "answered"
    CLARIFY = "clarify"
    """No entry matches clearly: the nearest are offered."""
    NOT_COVERED = "not_covered"
    ACKNOWLEDGED = "acknowledged"
    """The user only says thanks, or that all is clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An entry that may answer the question."""

    entry: Entry
    score: float
    """The calibrated confidence that it answers, 0 to 1."""
    phrasing: str
    """The wording of the entry that is nearest to the question; "" if the entry was not found by matching."""
    aspect: str = ""
    """Id of the aspect of the entry that the question asks; "" for the entry's own question."""
    reasons: tuple[tuple[str, float], ...] = ()
    """(term of the question, contribution), largest first; the term "" stands for the sentence vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The state of a conversation that a follow-up needs: what the previous answer was about."""

    entry: str | None
    """Id of the entry that answered; None if none did."""
    params: NamedValues
    lang: Lang
    candidates: tuple[str, ...] = ()
    """Ids of the entries offered for choice, if none answered."""
    aspect: str = ""
    """Id of the aspect of the entry that answered; "" if it was the entry's own question."""
    seed: int = 0
    """The seed that the conversation asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question with the options of the client."""

    question: str
    lang: Lang | None = None
    """The language of the answer; None means that of the question."""
    reader_lang: Lang | None = None
    """The language of the answer if the question's cannot be detected: "0.9?", a log."""
    params: Params = field(default_factory=dict)
    """Parameters of the runs; they take precedence over those that the question names and the entry declares."""
    compare: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Parameter → values: each experiment runs once per value, all else equal. An empty tuple means all its choices."""
    seed: int = 0
    seeds: int = 1
    """Every run is repeated with this many seeds, counting up from `seed`."""
    entry: str | None = None
    """Id of an entry to answer with instead of matching."""
    aspect: str = ""
    """Id of the aspect of the entry `entry` that is asked; "" for the entry's own question."""
    blocks: tuple[str, ...] | None = None
    """Ids of the evidence blocks to run; None means all."""
    run: bool = True
    """Whether experiments are run; False answers with text only."""
    brief: bool = False
    """Run only the evidence blocks that `FIRST_PARTS` need."""
    context: Context | None = None
    """The context of the previous answer, if this may be a follow-up."""
    removed_chips: tuple[str, ...] = ()
    """What was misread in the question and is ignored: observations ("what:nan") and parameters ("param:lr")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculation:
    """Formulas whose values a question asks for; each is measured by one run of the experiment `formula`."""

    formulas: tuple[str, ...]
    """As people write them: log(1 + exp(x))."""
    dtypes: tuple[str, ...] = ()
    """The formats that the question names."""
    at: Mapping[str, str] = field(default_factory=dict)
    """Variable → its value."""
    over: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variable → (lowest, highest) value of the range in which the question asks where the formula breaks."""
    gradient: bool = False
    """Whether the question asks for the derivative."""

    def address_in(self, lang: Lang, index: int = 0) -> str:
        """The URL path of the page that shows one of the formulas at the same values and ranges, in `lang`."""
        ranges = {name: f"{low}..{high}" for name, (low, high) in self.over.items()}
        gradient = {"gradient": "1"} if self.gradient else {}
        fields = {"expression": self.formulas[index], **self.at, **ranges, **gradient, "lang": lang}
        return f"/formula?{urlencode(fields)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: the entry, the calculation or the verdict on a run, the confidence, and the evidence once measured."""

    id: str
    status: AnswerStatus
    lang: Lang
    question: str
    entry: Entry | None
    """The entry that answers; None unless the status is ANSWERED by an entry."""
    confidence: float
    """The probability that the entry answers the question, 0 to 1."""
    matches: tuple[Match, ...]
    params: NamedValues
    observations: tuple[Observation, ...] = ()
    """What the question says about a run."""
    used_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Observation ("what:nan") or parameter ("param:lr") → the evidence blocks that use it, and "match" if it helped to
    find the entry; () if nothing uses it."""
    clue: FoundClue | None = None
    """What follows from the observations, where they single out no row of the entry."""
    log: str = ""
    """A one-line description of the log in the question, in the answer's language; "" if there is none."""
    notes: tuple[Text, ...] = ()
    subject: Subject | None = None
    """The topic of a question that is not covered, if it was recognised."""
    related: tuple[Entry, ...] = ()
    alternatives: tuple[Entry, ...] = ()
    """Entries that may be meant instead, the most probable first, each focused on the aspect that would be meant."""
    alternative_evidence: tuple[Evidence, ...] = ()
    """The evidence of the numbers that the short answers of the alternatives quote, once it is measured."""
    evidence: tuple[Evidence, ...] = ()
    calculation: Calculation | None = None
    """The formulas that are computed, if they and not an entry are the answer."""
    diagnosis: Diagnosis | None = None
    """The diagnosis of the run whose log the question holds; None if it holds none."""
    earlier: Context | None = None
    """The context in which the question was asked."""
    seed: int = 0
    """The first seed of its runs."""
    part: Part | None = None
    """The part of the entry's text that a follow-up such as "why?" asks for; it is shown first."""
    is_follow_up: bool = False
    """Whether the question was understood as a follow-up to the answer before it."""

    @property
    def is_verdict(self) -> bool:
        """Whether the diagnosis of a log is the whole answer: a healthy run has no entry."""
        answered = self.status is AnswerStatus.ANSWERED and self.diagnosis is not None
        return answered and self.entry is None and self.calculation is None

    @property
    def context(self) -> Context:
        """The context to send with a follow-up.

        It describes this answer; if this answer is a refusal or an acknowledgement, it is that of the answer before.
        """
        if self.entry is not None or self.calculation is not None:
            entry, aspect = (self.entry.id, self.entry.aspect) if self.entry else (None, "")
            return Context(entry=entry, aspect=aspect, params=self.params, lang=self.lang, seed=self.seed)
        if self.earlier is not None and self.status is not AnswerStatus.CLARIFY:
            return replace(self.earlier, lang=self.lang)
        candidates = tuple(match.entry.id for match in self.matches[:MAX_CANDIDATES])
        return Context(entry=None, params=self.params, lang=self.lang, candidates=candidates)
