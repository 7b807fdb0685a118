"""The events of an answer, in order: AnswerReady; for each run Started, Queued, RowMeasured …, EvidenceReady; Done."""

from dataclasses import dataclass, field

from qa_service.model import Answer, Evidence, Experiment, Params, Row


@dataclass(frozen=True, slots=True)
class AnswerReady:
    """The first event: the answer's text is known, its evidence is not yet."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Started:
    """A run is about to start.

    `id` is that of its evidence, `compared` the parameters in which it differs from the other runs of a comparison.
    """

    id: str
    experiment: Experiment
    params: Params
    seed: int
    compared: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits for a slot at this position in the queue, 1 for the next."""

    id: str
    position: int


@dataclass(frozen=True, slots=True)
class RowMeasured:
    """One row of the experiment that is running."""

    id: str
    row: Row


@dataclass(frozen=True, slots=True)
class EvidenceReady:
    """A run has finished and its claims are judged."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Done:
    """The last event: the answer with all its evidence; `brief` is that of the request."""

    answer: Answer
    brief: bool = False


Event = AnswerReady | Started | Queued | RowMeasured | EvidenceReady | Done
