"""Rules on the first loss and the first gradient of a run, before anything is learned."""

import math
from collections.abc import Iterator

from qa_service.diagnosis.curves import (
    finite_records,
    format_text,
    number_setting,
    records,
    uses_float16,
)
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.loss_terms import loss_terms
from qa_service.diagnosis.stalled_loss import classes_at_chance, gradient_always_zero
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

INTERVAL_MEAN_FORMATS = ("hf_trainer", "llama_factory", "trainer_state", "trainer_log", "keras")
"""Formats whose losses are means over the steps since the record before."""
_HUGE_GRADIENT = 1e3
_HUGE, _HUGE_SUM = 50, 5e3
"""A first loss above the first number is huge; the second is for a sum of parts, to which their weights give a scale of
its own.
"""


def first_gradient(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the size of the gradient before anything was learned, by itself and against the loss."""
    norms, losses = finite_records(records(run, "grad_norm")), finite_records(records(run, "loss"))
    if norms and losses and run.from_start and losses[0].value > 20 and (losses[0].step or 0) <= 20:
        ratio = norms[0].value / losses[0].value
        text = format_text(
            "开始时梯度范数是损失的 {ratio} 倍", "At the start the gradient norm is {ratio} times the loss", ratio=ratio
        )
        feature = "steep_at_start" if ratio > 2 else "gentle_at_start" if ratio < 0.5 else "even_at_start"
        yield from feature_findings(feature, text, norms[0])
    if (
        norms
        and _is_before_updates(run, norms[0])
        and run.from_start
        and norms[0].value > _HUGE_GRADIENT
        and not uses_float16(run)
    ):
        text = format_text(
            "{at}的梯度范数已有 {value}",
            "At {at} the gradient norm is {value} already",
            at=norms[0],
            value=norms[0].value,
        )
        yield from feature_findings("huge_gradient_at_start", text, norms[0])


def first_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the first loss compared with that of guessing."""
    points = finite_records(records(run, "loss"))
    if not points or not run.from_start or points[0].value <= 0 or (points[0].step or 0) > 20:
        return
    if gradient_always_zero(run):
        return
    if run.format in INTERVAL_MEAN_FORMATS and (points[0].step or 0) > 1:
        return  # a mean over the first steps, which a jump in one of them may dominate
    value, batch = points[0].value, number_setting(run, "batch_size")
    huge = "huge_first_loss" if _is_before_updates(run, points[0]) else "huge_early_loss"
    classes = number_setting(run, "classes") or classes_at_chance(run)
    if classes and classes >= 2:
        ratio = value / math.log(classes)
        if batch and batch >= 4 and abs(ratio / batch - 1) < 0.4:
            text = format_text(
                "第一个损失 {value} 约为 ln {classes} 的 {batch} 倍，正是批量大小",
                "The first loss, {value}, is about ln {classes} times {batch}, the batch size",
                value=value,
                classes=str(int(classes)),
                batch=str(int(batch)),
            )
            yield from feature_findings("first_loss_is_batch_times_chance", text, points[0])
        if ratio > 4:
            text = format_text(
                "第一个损失 {value} 是瞎猜水平 ln {classes} 的 {ratio} 倍",
                "The first loss, {value}, is {ratio} times that of guessing, ln {classes}",
                value=value,
                classes=str(int(classes)),
                ratio=ratio,
            )
            yield from feature_findings(huge, text, points[0])
        elif ratio < 2:
            yield from _usual(points[0])
    elif value > (_HUGE_SUM if loss_terms(run) else _HUGE):
        text = format_text("第一个损失就有 {value}", "The first loss is {value} already", value=value)
        yield from feature_findings(huge, text, points[0])
    elif 0.3 <= value <= 13:
        yield from _usual(points[0])


def _is_before_updates(run: TrainingRun, point: Record) -> bool:
    """Whether a first record was measured with the initial weights, before any update."""
    return run.format not in INTERVAL_MEAN_FORMATS if point.step is None else point.step <= 1


def _usual(point: Record) -> Iterator[Finding]:
    text = format_text("第一个损失 {value} 是正常的", "The first loss, {value}, is a usual one", value=point.value)
    yield from feature_findings("usual_first_loss", text, point)
