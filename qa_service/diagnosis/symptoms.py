"""The entry about the symptom of a run, for runs whose cause is not known: "the loss is nan after a while"."""

import math

from qa_service.diagnosis.curves import records
from qa_service.diagnosis.nonfinite_harm import hidden_nan, lasting_nonfinite, loss_keys
from qa_service.model.diagnosis import Diagnosis
from qa_service.model.training_run import TrainingRun

_ENTRIES = {
    "diverging": "loss-spike",
    "no_learning": "loss-flat-at-chance",
    "skipping": "loss-scale-keeps-falling",
    "evaluation": "good-in-training-bad-in-evaluation",
}
"""Harm → the id of the entry that distinguishes its causes."""


def symptom_entry(diagnosis: Diagnosis) -> str:
    """The id of the entry about what goes wrong first in a run; "" where there is none, or the run is healthy."""
    first = next(iter(diagnosis.harms), None)
    if first is None:
        return ""
    return _entry_of_nonfinite(diagnosis.run) if first.id == "nonfinite" else _ENTRIES.get(first.id, "")


def _entry_of_nonfinite(run: TrainingRun) -> str:
    if hidden_nan(run):
        return "loss-zero-grad-norm-nan"
    lost = [key for key in loss_keys(run) if lasting_nonfinite(records(run, key))]
    if not lost:
        return ""
    sound_at_first = any(math.isfinite(point.value) for key in lost for point in records(run, key)[:1])
    return "loss-nan-after-a-while" if sound_at_first else "loss-nan-from-the-first-step"
