"""Rules on what was measured in layers; of a run without layers they find nothing."""

from collections.abc import Callable, Iterable

from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingRun

RULES: tuple[Callable[[TrainingRun], Iterable[Finding]], ...] = ()
