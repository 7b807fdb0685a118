"""The harm "evaluation": validation that is bad where training is good."""

import math
from collections.abc import Iterator
from statistics import median

from qa_service.diagnosis.curves import (
    end_level,
    finite_records,
    format_text,
    harm_of_records,
    lines_of,
    loss_is_objective,
    noise_deviation,
    records,
    share_ascending,
    shares_of,
    start_level,
    values_of,
)
from qa_service.diagnosis.divergence_harm import has_generalisation_gap
from qa_service.diagnosis.nonfinite_harm import hidden_nan, lasting_nonfinite
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import Record, TrainingRun

_ACCURACY_LOST = 0.25


def accuracy_lost(run: TrainingRun) -> tuple[Record, Record] | None:
    """The records of the best and the last validation accuracy, where it has fallen by 0.25 or more; else None."""
    points = finite_records(records(run, "val_accuracy"))
    shares = shares_of(points)
    if len(shares) < 4 or not loss_is_objective(run) or max(shares) - max(shares[-2:]) < _ACCURACY_LOST:
        return None
    return points[shares.index(max(shares))], points[-1]


def evaluation_harms(run: TrainingRun) -> Iterator[Harm]:
    """The harm of bad validation, one at most: accuracy lost, a validation loss that stays non-finite, or a gap between
    the losses.
    """
    train, held_out = finite_records(records(run, "loss")), records(run, "val_loss")
    if lasting_nonfinite(records(run, "loss")) or hidden_nan(run):
        return
    if (lost := accuracy_lost(run)) is not None:
        yield Harm(
            id="evaluation",
            lines=lines_of(*lost),
            step=lost[1].step,
            text=format_text(
                "验证准确率从 {best}（{at}）掉到 {last}",
                "The accuracy of validation falls from {best} ({at}) to {last}",
                best=lost[0].value,
                at=lost[0],
                last=lost[1].value,
            ),
        )
        return
    if (bad := lasting_nonfinite(held_out)) and train:
        yield harm_of_records(
            "evaluation",
            format_text(
                "验证损失从{at}起是 {value}，训练损失却是有限数",
                "The validation loss is {value} from {at} on, the training loss is finite",
                at=bad,
                value=bad.value,
            ),
            bad,
        )
        return
    how = validation_gap(run)
    points = finite_records(held_out)
    if how:
        text = {
            "generalisation_gap": format_text(
                "训练损失 {train}，验证损失 {held}，准确率也差得远",
                "The training loss is {train}, that of validation {held}, and the accuracies are as far apart",
                train=end_level(values_of(train)),
                held=points[-1].value,
            ),
            "never_improves": format_text(
                "训练损失降到 {train}，验证损失却从没降过，现在是 {held}",
                "The training loss falls to {train}; the validation loss has never fallen and is {held}",
                train=end_level(values_of(train)),
                held=points[-1].value,
            ),
            "overfits": format_text(
                "验证损失最低到过 {best}，后来升到 {held}，训练损失还在降",
                "The validation loss was {best} at its lowest and has risen to {held} while the training loss falls",
                best=min(values_of(points)),
                held=points[-1].value,
            ),
            "both_worsen": format_text(
                "验证损失最低到过 {best}，后来升到 {held}，训练损失也没有更好",
                "The validation loss was {best} at its lowest and has risen to {held}; training is no better",
                best=min(values_of(points)),
                held=points[-1].value,
            ),
        }[how]
        yield harm_of_records("evaluation", text, points[-1])


def validation_gap(run: TrainingRun, *, apart: bool = True) -> str:
    """How the validation loss departs from the training loss; "" if it does not.

    "generalisation_gap": far apart at the end, in loss and accuracy (tested only if `apart`). "never_improves":
    validation never improved. "overfits": it did at first, and training goes on. "both_worsen": both get worse again.
    """
    train, held_out = (
        values_of(finite_records(records(run, "loss"))),
        values_of(finite_records(records(run, "val_loss"))),
    )
    if apart and has_generalisation_gap(run):
        return "generalisation_gap"
    if len(train) < 3 or len(held_out) < 4 or min(train) < 0 or min(held_out) <= 0 or not loss_is_objective(run):
        return ""
    end, best, last = end_level(train), min(held_out), median(held_out[-2:])
    half = end < 0.5 * start_level(train)
    never = best > 0.95 * held_out[0]
    if half and never and last > max(1.15 * held_out[0], 3 * end, 0.5 * train[0]):
        return "never_improves"
    learns = end < 0.85 * train[0] and train[0] - end > 4 * noise_deviation(train) / math.sqrt(max(3, len(train) // 20))
    if learns and best > 0.9 * held_out[0] and best > 0.8 * train[0] and last > 1.2 * end:
        return "never_improves"
    lowest = held_out.index(best)
    rising = len(held_out) - lowest > 3 and share_ascending(held_out[lowest:]) >= 0.7
    far = last > max(1.3 * best, 2 * end, 0.35 * train[0]) or last > max(1.1 * best, 10 * end, 0.5 * train[0])
    if half and (not never or lowest > 0) and rising and far:
        return "overfits"
    worse = last > max(4 * best, 0.5 * train[0]) and end > 0.2 * train[0]
    return "both_worsen" if worse and rising and lowest < len(held_out) - 1 else ""
