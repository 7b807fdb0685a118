"""What happens while a question is answered, in this order: answered, then started, queued, measuring … and finished
for each experiment, then done. A front shows them as they come.
"""

from dataclasses import dataclass, field

from qa_service.model import Answer, Evidence, Experiment, Params, Row


@dataclass(frozen=True, slots=True)
class AnswerReady:
    """First of an answer's events: who answers, before any evidence."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Started:
    """An experiment is about to run; `id` is the evidence's, `compared` what differs in it from the runs beside it."""

    id: str
    experiment: Experiment
    params: Params
    seed: int
    compared: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queued:
    """The experiment waits until others have run; `before` counts it and those before it."""

    id: str
    position: int


@dataclass(frozen=True, slots=True)
class RowMeasured:
    """One row of the experiment that is running."""

    id: str
    row: Row


@dataclass(frozen=True, slots=True)
class EvidenceReady:
    """One evidence is complete."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Done:
    """Last of an answer's events: the whole answer."""

    answer: Answer


Event = AnswerReady | Started | Queued | RowMeasured | EvidenceReady | Done
