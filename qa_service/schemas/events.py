"""The events of an answer or a run as JSON: each has a name and data."""

from typing import Annotated, Literal

from pydantic import Field

from qa_service.model import Lang
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, Queued, RowMeasured, Started
from qa_service.schemas.answers import AnswerJson, answer_json
from qa_service.schemas.evidence import EvidenceJson, ParamsJson, evidence_json
from qa_service.schemas.problems import ProblemJson
from qa_service.schemas.values import Body, Row


class StartedJson(Body):
    """A run is about to start; `id` is that of its evidence."""

    id: str
    experiment: str
    title: str
    params: ParamsJson
    compared: ParamsJson
    seed: int


class QueuedJson(Body):
    """The run waits for a slot; `before` is its position in the queue, 1 for the next."""

    id: str
    before: int


class RowJson(Body):
    """One row of a run in progress."""

    id: str
    row: Row


class AnswerEvent(Body):
    """The first event of an answer: all but the evidence."""

    event: Literal["answer"]
    data: AnswerJson


class StartedEvent(Body):
    """A run is about to start."""

    event: Literal["started"]
    data: StartedJson


class QueuedEvent(Body):
    """A run waits for a slot."""

    event: Literal["queued"]
    data: QueuedJson


class RowEvent(Body):
    """A run has measured a row."""

    event: Literal["row"]
    data: RowJson


class EvidenceEvent(Body):
    """A run has finished."""

    event: Literal["evidence"]
    data: EvidenceJson


class DoneEvent(Body):
    """The last event of an answer: the whole answer."""

    event: Literal["done"]
    data: AnswerJson


class ErrorEvent(Body):
    """The last event if an error occurs after the stream has begun."""

    event: Literal["error"]
    data: ProblemJson


RunEvent = Annotated[StartedEvent | QueuedEvent | RowEvent | EvidenceEvent | ErrorEvent, Field(discriminator="event")]
"""The events of a run's stream; `evidence` or `error` is the last."""
AskEvent = Annotated[
    AnswerEvent | StartedEvent | QueuedEvent | RowEvent | EvidenceEvent | DoneEvent | ErrorEvent,
    Field(discriminator="event"),
]
"""The events of an answer's stream; `done` or `error` is the last."""


def event_json(event: Event, lang: Lang) -> tuple[str, Body]:
    """An event's name and data."""
    match event:
        case AnswerReady(answer):
            return "answer", answer_json(answer)
        case Started():
            return "started", StartedJson(
                id=event.id,
                experiment=event.experiment.slug,
                title=event.experiment.title[lang],
                params=dict(event.params),
                compared=dict(event.compared),
                seed=event.seed,
            )
        case Queued():
            return "queued", QueuedJson(id=event.id, before=event.position)
        case RowMeasured():
            return "row", RowJson(id=event.id, row=event.row)
        case EvidenceReady(evidence):
            return "evidence", evidence_json(evidence, lang)
        case Done(answer):
            return "done", answer_json(answer)
