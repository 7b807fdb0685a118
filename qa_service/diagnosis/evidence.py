"""A feature of a run as evidence: one finding for each cause that it speaks about."""

from collections.abc import Callable, Iterable, Iterator

from qa_service.diagnosis.curves import lines_of
from qa_service.diagnosis.weights import WEIGHTS
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun
from qa_service.model.values import Text

DiagnosticRule = Callable[[TrainingRun], Iterable[Finding]]


def feature_findings(feature: str, text: Text, *points: Record | None, step: int | None = None) -> Iterator[Finding]:
    """A finding for each cause that the feature speaks for or against, with the lines of the records that show it."""
    last = next((point for point in reversed(points) if point is not None), None)
    for cause, weight in WEIGHTS[feature].items():
        yield Finding(
            feature=feature,
            cause=cause,
            weight=weight,
            text=text,
            lines=lines_of(*points),
            step=step if step is not None else last.step if last else None,
        )
