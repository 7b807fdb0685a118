"""The terms of a loss that a log prints beside their sum."""

import re
from collections.abc import Mapping

from qa_service.diagnosis.curves import records
from qa_service.model.training_run import Record, TrainingRun

_PART = re.compile(r"loss|(?:^|_)(?:ce|bce|kl|mse|l1|iou|giou|ctc|att)$|^l_", re.IGNORECASE)
_NO_PART = re.compile(
    r"average|scale|^(?:val|eval|test|valid)|smooth|mean$|total|best|(?:^|_)(?:avg|moving)_", re.IGNORECASE
)


def loss_terms(run: TrainingRun) -> Mapping[str, tuple[Record, ...]]:
    """The series that are, by their names, terms of the loss; empty if fewer than two are."""
    losses = len(records(run, "loss"))
    parts = {
        key: points
        for key, points in run.series.items()
        if key != "loss" and _PART.search(key) and not _NO_PART.search(key) and 2 * len(points) > losses > 0
    }
    return parts if len(parts) > 1 else {}
