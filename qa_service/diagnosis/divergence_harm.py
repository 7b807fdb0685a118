"""The harm "diverging": a loss that rises, or that loses what it had learned."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from qa_service.diagnosis.curves import (
    end_level,
    finite_records,
    format_text,
    harm_of_records,
    loss_is_objective,
    records,
    rolling_medians,
    shares_of,
    start_level,
    values_of,
)
from qa_service.diagnosis.divergence import divergence_kind, grows_a_hundredfold
from qa_service.diagnosis.schedule import lost_at_rate_jump
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import Record, TrainingRun

_MIN_RECORDS = 5
_UNUSUAL = 1e-3
"""A first loss below this is unusual: it has been multiplied by a small weight."""
_LEAP = 1000


def divergence_harms(run: TrainingRun) -> Iterator[Harm]:
    """The harms of a run whose loss diverges: the harm "diverging", unless the accuracy is still good or only the
    weight of the loss has changed.
    """
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    if len(values) < 5:
        return
    how = divergence_kind(values) if loss_is_objective(run) else "rising" if grows_a_hundredfold(values) else None
    if how is None and loss_is_objective(run) and lost_at_rate_jump(run):
        how = "lost"
    if how is None or _stays_accurate(run) or _is_reweighted(run, values):
        return
    best, last = min(rolling_medians(values)), end_level(values)
    if how == "spiked":
        text = format_text(
            "损失冲到 {top}，回来也只回到开始的水平 {last}",
            "The loss is thrown up to {top} and comes back only to where it began, {last}",
            top=max(values),
            last=last,
        )
    elif how == "lost":
        text = format_text(
            "损失曾降到 {best}，又回到 {last}，没有再降下来",
            "The loss had come down to {best}, went back to {last} and stayed",
            best=best,
            last=last,
        )
    else:
        text = format_text(
            "损失从 {first} 升到 {last}", "The loss rises from {first} to {last}", first=start_level(values), last=last
        )
    yield harm_of_records("diverging", text, points[-1])


def _stays_accurate(run: TrainingRun) -> bool:
    """Whether the accuracy, of validation if logged, ends at 0.9 or more and near its best.

    A loss that rises all the same then belongs to a harder task.
    """
    last = line_or_step(records(run, "loss")[-1])
    for key in ("val_accuracy", "accuracy"):
        points = finite_records(records(run, key))
        shares = shares_of(points)
        if len(points) >= 2 and line_or_step(points[-1]) >= 0.9 * last and shares[-1] >= 0.9:
            return shares[-1] > max(shares) - 0.07
    return False


def _is_reweighted(run: TrainingRun, values: Sequence[float]) -> bool:
    """Whether a jump of the training loss is a change of its weight: no validation step grows 1.6-fold, and the loss
    starts down-scaled or validation still falls.
    """
    held_out = values_of(finite_records(records(run, "val_loss")))
    if any(after >= 1.6 * before for before, after in pairwise(held_out)):
        return False
    if run.from_start and _starts_downscaled(values):
        return True
    return len(held_out) >= 4 and 10 * min(rolling_medians(values)) < values[0] and held_out[-1] < 0.97 * held_out[0]


def _starts_downscaled(values: Sequence[float]) -> bool:
    """Whether a loss starts below `_UNUSUAL`, jumps by more than `_LEAP` times, and rises no more.

    No model begins with such a loss: at first it is multiplied by a small weight.
    """
    leap = next((index for index, value in enumerate(values) if value > 10 * values[0]), 0)
    before, after = values[:leap], values[leap:]
    if leap < _MIN_RECORDS or len(after) < _MIN_RECORDS or not 0 < values[0] < _UNUSUAL:
        return False
    third = len(after) // 3
    steady = median(after[-third:]) < 1.3 * max(median(after[:third]), median(after[third : 2 * third]))
    return steady and median(after) > _LEAP * median(before[-_MIN_RECORDS:])


def has_generalisation_gap(run: TrainingRun) -> bool:
    """Whether validation is far worse than training at the end: by 0.25 of accuracy and ten times the loss."""
    keys = ("accuracy", "val_accuracy", "loss", "val_loss")
    series = [finite_records(records(run, key)) for key in keys]
    if not all(series):
        return False
    right, held_right = shares_of(series[0])[-1], shares_of(series[1])[-1]
    train, held_out = series[2][-1].value, series[3][-1].value
    return right > 0.95 and held_right < right - 0.25 and held_out > max(10 * train, 1.0)


def line_or_step(point: Record) -> int:
    """The position of a record in its log: its line, else its step."""
    return point.line or point.step or 0
