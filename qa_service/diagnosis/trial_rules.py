"""Rules on trials of a model; of a run that is no trial they find nothing."""

from collections.abc import Callable, Iterable

from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingRun

RULES: tuple[Callable[[TrainingRun], Iterable[Finding]], ...] = ()
