"""Jumps of the learning rate, and whether what the run had learned is lost after one."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from qa_service.diagnosis.curves import finite_records, records, rolling_medians, start_level, values_of
from qa_service.model.training_run import Record, TrainingRun

_FACTOR = 3.0
_QUIET = 5
"""Steady records that a jump needs before it; with fewer, the rise counts as a warm-up."""
_LEARNED = 0.5
"""A run has learned if its loss before the jump is below this share of the first loss."""
_LOST = 0.4
"""What was learned is lost if the loss never again falls below this share of the gain, above the level reached."""


def record_position(point: Record) -> float:
    """The position of a record in its log, for ordering: its line, else its step; inf if it has neither."""
    return float(point.line if point.line is not None else point.step if point.step is not None else math.inf)


def rate_jump(rates: Sequence[Record], until: float = math.inf) -> tuple[Record, Record] | None:
    """The last rate before and the first after a rise to more than threefold, which follows five steady records.

    Only records up to the position `until` count; None if there is no such rise.
    """
    before = [each for each in rates if record_position(each) <= until + 1e-9]
    for index in range(_QUIET, len(before)):
        quiet = values_of(before[index - _QUIET : index])
        steady = all(after <= 1.001 * one for one, after in pairwise(quiet))
        if steady and quiet[-1] > 0 and before[index].value > _FACTOR * quiet[0]:
            return before[index - 1], before[index]
    return None


def lost_at_rate_jump(run: TrainingRun) -> tuple[Record, Record] | None:
    """(rate before, rate after) of a jump after which much of what had been learned is lost to the end; else None.

    After a warm restart a loss rises too, but less, and it comes down again.
    """
    points = finite_records(records(run, "loss"))
    found = rate_jump(finite_records(records(run, "lr")))
    if found is None or len(points) < 10:
        return None
    first = start_level(values_of(points))
    before = [each for each in points if record_position(each) < record_position(found[1])]
    after = rolling_medians(values_of([each for each in points if record_position(each) >= record_position(found[1])]))
    if len(before) < _QUIET or len(after) < max(_QUIET, len(points) // 6):
        return None
    learned = median(values_of(before[-_QUIET:]))
    third = len(after) // 3
    high = min(after) > learned + _LOST * (first - learned)
    stays = median(after[-third:]) > 0.75 * median(after[:third])
    return found if 0 < learned < _LEARNED * first and high and stays else None
