"""Rules on validation that is bad where training is good."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from qa_service.diagnosis.curves import (
    end_level,
    finite_records,
    format_text,
    records,
    share_ascending,
    shares_of,
    values_of,
)
from qa_service.diagnosis.evaluation_harm import validation_gap
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.nonfinite_harm import hidden_nan, lasting_nonfinite
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingRun

_SWING = 1.5


def bad_validation(run: TrainingRun) -> Iterator[Finding]:
    """Findings if validation is bad or not finite where training is good."""
    held_out = records(run, "val_loss")
    if lasting_nonfinite(records(run, "loss")) or hidden_nan(run):
        return
    bad = lasting_nonfinite(held_out)
    if bad and finite_records(records(run, "loss")):
        text = format_text(
            "验证损失在{at}是 {value}，训练损失正常",
            "The validation loss is {value} at {at}, the training loss is normal",
            at=bad,
            value=bad.value,
        )
        yield from feature_findings("validation_not_finite", text, bad)
        return
    how, points, train = validation_gap(run), finite_records(held_out), values_of(finite_records(records(run, "loss")))
    if how == "generalisation_gap":
        text = format_text(
            "训练已几乎全对（损失 {train}），验证损失却是 {held}",
            "Training is nearly all right (loss {train}), the validation loss is {held}",
            train=train[-1],
            held=points[-1].value,
        )
        yield from feature_findings("validation_apart", text, points[-1])
        how = validation_gap(run, apart=False)
    if how == "never_improves":
        text = format_text(
            "训练损失 {train}，验证损失 {held}，从没低于开始的 {first}",
            "The training loss is {train}, the validation loss {held}, and never was it below its first, {first}",
            train=end_level(train),
            held=points[-1].value,
            first=points[0].value,
        )
        yield from feature_findings("validation_never_learns", text, points[0], points[-1])
        rises = share_ascending(values_of(points)) > 0.7
        if points[0].value > 1.3 * train[0]:
            text = format_text(
                "第一个验证损失 {held} 就高于训练开始的 {first}",
                "The first validation loss, {held}, is above the first of training, {first}",
                held=points[0].value,
                first=train[0],
            )
            yield from feature_findings("validation_starts_high", text, points[0])
        if _swings(values_of(points)):
            text = format_text(
                "验证损失大起大落，训练损失却一路下降",
                "The validation loss goes far up and down while the training loss falls",
            )
            yield from feature_findings("validation_swings", text, points[0], points[-1])
        shares = shares_of(finite_records(records(run, "val_accuracy")))
        if shares and shares[-1] >= 0.6 and shares[-1] > max(shares) - 0.1:
            text = format_text(
                "验证准确率仍有 {share}", "The accuracy of validation is {share} all the same", share=shares[-1]
            )
            yield from feature_findings("validation_partly_right", text, points[-1])
        memorised = "learned_by_heart" if train[-1] < 0.02 * train[0] and rises else "learned_slowly"
        text = format_text(
            "训练损失从 {first} 到 {last}",
            "The training loss goes from {first} to {last}",
            first=train[0],
            last=train[-1],
        )
        if memorised == "learned_by_heart" or end_level(train) > 0.3 * train[0]:
            yield from feature_findings(memorised, text, points[-1])
    elif how == "overfits":
        lowest = min(points, key=lambda each: each.value)
        text = format_text(
            "验证损失在{at}最低（{best}），之后升到 {held}，训练损失还在降",
            "The validation loss is lowest at {at} ({best}) and rises to {held} while the training loss falls",
            at=lowest,
            best=lowest.value,
            held=points[-1].value,
        )
        yield from feature_findings("validation_turns", text, lowest, points[-1])


def _swings(values: Sequence[float]) -> bool:
    """Whether a loss changes direction three times or more between changes by half and more."""
    turns = [math.log(after / before) for before, after in pairwise(values) if before > 0 and after > 0]
    large = [turn for turn in turns if abs(turn) > math.log(_SWING)]
    return sum(before * after < 0 for before, after in pairwise(large)) >= 3
