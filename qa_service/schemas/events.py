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
    """An experiment is about to run; `id` is its evidence's."""

    id: str
    experiment: str
    title: str
    params: ParamsJson
    compared: ParamsJson
    seed: int


class QueuedJson(Body):
    """The experiment waits until others have run; `before` counts it and those before it."""

    id: str
    before: int


class RowJson(Body):
    """One row of the experiment that is running."""

    id: str
    row: Row


class AnswerEvent(Body):
    """First: who answers, without evidence."""

    event: Literal["answer"]
    data: AnswerJson


class StartedEvent(Body):
    """An experiment is about to run."""

    event: Literal["started"]
    data: StartedJson


class QueuedEvent(Body):
    """An experiment waits its turn."""

    event: Literal["queued"]
    data: QueuedJson


class RowEvent(Body):
    """An experiment has measured a row."""

    event: Literal["row"]
    data: RowJson


class EvidenceEvent(Body):
    """One evidence is complete."""

    event: Literal["evidence"]
    data: EvidenceJson


class DoneEvent(Body):
    """Last of an answer: all of it."""

    event: Literal["done"]
    data: AnswerJson


class ErrorEvent(Body):
    """Last where something went wrong after the stream had begun."""

    event: Literal["error"]
    data: ProblemJson


RunEvent = Annotated[StartedEvent | QueuedEvent | RowEvent | EvidenceEvent | ErrorEvent, Field(discriminator="event")]
"""What the stream of a run may say; its `evidence` is the last."""
AskEvent = Annotated[
    AnswerEvent | StartedEvent | QueuedEvent | RowEvent | EvidenceEvent | DoneEvent | ErrorEvent,
    Field(discriminator="event"),
]
"""What the stream of an answer may say."""


def event_json(one: Event, lang: Lang) -> tuple[str, Body]:
    """An event's name and data."""
    match one:
        case AnswerReady(answer):
            return "answer", answer_json(answer)
        case Started():
            return "started", StartedJson(
                id=one.id,
                experiment=one.experiment.slug,
                title=one.experiment.title[lang],
                params=dict(one.params),
                compared=dict(one.compared),
                seed=one.seed,
            )
        case Queued():
            return "queued", QueuedJson(id=one.id, before=one.position)
        case RowMeasured():
            return "row", RowJson(id=one.id, row=one.row)
        case EvidenceReady(evidence):
            return "evidence", evidence_json(evidence, lang)
        case Done(answer):
            return "done", answer_json(answer)
