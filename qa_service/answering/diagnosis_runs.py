"""Runs the experiment of a diagnosis twice: at the reader's numbers, and with the cure."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from qa_service.lab.cancellation import IsCancelled
from qa_service.model import Evidence
from qa_service.model.diagnosis import Diagnosis
from qa_service.model.events import Event, EvidenceReady

if TYPE_CHECKING:
    from qa_service.answering.knowledge import Knowledge
    from qa_service.answering.service import Service


def run_experiments(
    diagnosis: Diagnosis,
    service: "Service",
    measured: Callable[[Evidence], object],
    is_cancelled: IsCancelled,
    knowledge: "Knowledge | None" = None,
) -> Generator[Event, None, None]:
    """Runs the diagnosis' experiment at the reader's numbers, then with the cure; `measured` is called with each.

    Yields their events. A diagnosis without an experiment has none. Both runs are of one snapshot of knowledge, by
    default the current one.
    """
    planned, current = diagnosis.experiment, knowledge or service.knowledge
    if planned is None:
        return
    for params in (planned.params, {**planned.params, **planned.cured}):
        for event in service.run(planned.experiment, params, is_cancelled=is_cancelled, knowledge=current):
            if isinstance(event, EvidenceReady):
                measured(event.evidence)
            yield event
