"""The harm "skipping": updates that are skipped, or a loss scale that falls to its floor."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from qa_service.diagnosis.curves import (
    finite_records,
    format_text,
    harm_of_records,
    records,
    step_span,
    values_of,
)
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import TrainingEvent, TrainingRun

_MIN_STEPS = 50
_SCALE_FLOOR = 1.0
_SCALE_LOW = 256.0


def loss_scale_trend(run: TrainingRun) -> str:
    """How the loss scale moves: "" (never down), "startup" (only down), "hovering", or "staircase" to its floor."""
    points = finite_records(records(run, "loss_scale"))
    values = values_of(points)
    downs = [index for index, (before, after) in enumerate(pairwise(values), start=1) if after < before]
    if len(values) < 2 or not downs:
        return "staircase" if values and values[-1] < _SCALE_FLOOR else ""
    lowest = values[-1] == min(values)
    ups = any(after > before for before, after in pairwise(values))
    if values[-1] < _SCALE_FLOOR or (lowest and values[-1] <= _SCALE_FLOOR < values[0]):
        return "staircase"
    if lowest and values[-1] <= _SCALE_LOW and len(downs) >= 3 and len(values) - downs[-1] <= 2:
        return "staircase"
    return "hovering" if ups else "startup"


def skipped_steps(run: TrainingRun) -> int:
    """Updates that were skipped, as messages or counters say."""
    events = sum(1 for event in run.events if event.kind == "skipped_update")
    counted = sum(int(point.value) for point in finite_records(records(run, "skipped")) if 0 <= point.value < 1e6)
    return max(events, counted if not _is_cumulative(run) else int(finite_records(records(run, "skipped"))[-1].value))


def _is_cumulative(run: TrainingRun) -> bool:
    values = values_of(finite_records(records(run, "skipped")))
    return len(values) >= 2 and values[-1] > 1 and all(after >= before for before, after in pairwise(values))


def skipping_harms(run: TrainingRun) -> Iterator[Harm]:
    """The harm of updates that do not happen, one at most: a loss scale that falls to its floor, or updates still
    skipped after the first steps.
    """
    scales = finite_records(records(run, "loss_scale"))
    if loss_scale_trend(run) == "staircase":
        yield harm_of_records(
            "skipping",
            format_text(
                "损失缩放系数从 {first} 一路降到 {last}",
                "The loss scale goes down from {first} to {last}",
                first=scales[0].value,
                last=scales[-1].value,
            ),
            scales[0],
            scales[-1],
        )
        return
    late = [event for event in run.events if event.kind == "skipped_update" and _is_late(event)]
    span = step_span(records(run, "loss"))
    if late and span and len(late) > max(3, 0.1 * span) and _still_skips(run, late):
        yield Harm(
            id="skipping",
            lines=tuple(event.line for event in late[-1:] if event.line),
            step=late[-1].step,
            text=format_text(
                "第 50 步以后还跳过了 {count} 次更新",
                "After step 50, {count} updates are still skipped",
                count=str(len(late)),
            ),
        )
        return
    yield from _skipped_by_step(run)
    if (points := finite_records(records(run, "skipped"))) and len(points) >= 4 and not _is_cumulative(run):
        tail = points[len(points) // 2 :]
        if min(values_of(tail)) >= 1 and not finite_records(records(run, "loss")):
            yield harm_of_records(
                "skipping",
                format_text(
                    "每个区间都有更新被跳过，而且没有损失",
                    "Updates are skipped in every interval, and there is no loss",
                ),
                tail[-1],
            )


def _skipped_by_step(run: TrainingRun) -> Iterator[Harm]:
    """The harm of skipped updates in a run that logs each step: more than a tenth are skipped after step 50, also at
    the end.
    """
    flags = finite_records(records(run, "skipped"))
    late = [flag for flag in flags if flag.step is not None and flag.step > _MIN_STEPS]
    if len(late) < 20 or any(flag.value not in (0, 1) for flag in flags):
        return
    share = math.fsum(values_of(late)) / len(late)
    if share > 0.1 and any(values_of(late[-len(late) // 5 :])):
        words = format_text(
            "第 50 步以后还有 {share} 的更新被跳过",
            "After step 50, {share} of the updates are still skipped",
            share=f"{100 * share:.0f} %",
        )
        yield harm_of_records("skipping", words, late[-1])


def _is_late(event: TrainingEvent) -> bool:
    return event.step is not None and event.step > _MIN_STEPS


def _still_skips(run: TrainingRun, late: Sequence[TrainingEvent]) -> bool:
    last = max((point.step or 0 for point in records(run, "loss")), default=0)
    return (late[-1].step or 0) > 0.8 * last
