"""Rules on losses and gradients that grow."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from qa_service.diagnosis.curves import (
    end_level,
    finite_records,
    format_text,
    is_adaptive,
    loss_is_objective,
    rate_at,
    records,
    rising_tail,
    rolling_medians,
    share_ascending,
    values_of,
)
from qa_service.diagnosis.divergence import divergence_kind
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.nan_rules import onset
from qa_service.diagnosis.nonfinite_harm import loss_keys
from qa_service.diagnosis.schedule import record_position
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_LINEAR_MARGIN = 0.06
"""A growth counts as linear unless an exponential explains this much more of its variance."""


def loss_growth(run: TrainingRun) -> tuple[float, list[Record]] | None:
    """(growth of the loss per step, the records) where it is geometric, record by record; None where it is not."""
    points = finite_records(records(run, "loss"))
    first = onset(run, *loss_keys(run))
    if first is not None and first.key == "loss":
        points = first.before
    tail = rising_tail(points)
    if len(tail) < 4 or tail[0].value <= 0:
        return None
    logs = [math.log(point.value) for point in tail]
    per_record, fit = _line(logs)
    gap = _steps_between(tail)
    if fit < 0.9 or per_record < math.log(1.15):
        return None
    return math.exp(min(per_record / gap, 600.0)), tail


def _line(values: Sequence[float]) -> tuple[float, float]:
    """(slope, share of the variance that it explains) of the least-squares line through values at 0, 1, 2 …"""
    count = len(values)
    middle, mean = (count - 1) / 2, math.fsum(values) / count
    spread = math.fsum((index - middle) ** 2 for index in range(count))
    slope = math.fsum((index - middle) * (value - mean) for index, value in enumerate(values)) / spread
    total = math.fsum((value - mean) ** 2 for value in values)
    return slope, (slope * slope * spread / total if total > 0 else 0.0)


def _steps_between(points: Sequence[Record]) -> float:
    steps = [point.step for point in points if point.step is not None]
    gaps = [after - before for before, after in pairwise(steps) if after > before]
    return float(median(gaps)) if gaps else 1.0


def critical_rate(run: TrainingRun) -> tuple[float, float, float] | None:
    """(learning rate, curvature, critical rate) of gradient descent on a parabola that grows as this loss does.

    The loss grows by (1 − ηλ)² a step. None where it does not grow geometrically, the rate is unknown, or the optimizer
    is known to be one that divides by the size of the gradient.
    """
    found = loss_growth(run)
    rate = rate_at(run, found[1][-1]) if found else None
    if found is None or not rate or rate <= 0 or is_adaptive(run):
        return None
    curvature = (1 + math.sqrt(found[0])) / rate
    return rate, curvature, 2 / curvature


def geometric_growth(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the loss grows by the same factor again and again."""
    found = loss_growth(run)
    if found is None:
        return
    factor, tail = found
    text = format_text(
        "从{begin}到{end}，损失每步乘以 {factor}",
        "From {begin} to {end} the loss is multiplied by {factor} a step",
        begin=tail[0],
        end=tail[-1],
        factor=factor,
    )
    if critical := critical_rate(run):
        text = format_text(
            "从{begin}到{end}，损失每步乘以 {factor}；若是 SGD，学习率 {rate} 对应曲率约 {curvature}，"
            "临界学习率约 {limit}",
            "From {begin} to {end} the loss is multiplied by {factor} a step; if this is SGD, the rate "
            "{rate} means a curvature "
            "of about {curvature} and a critical rate of about {limit}",
            begin=tail[0],
            end=tail[-1],
            factor=factor,
            rate=critical[0],
            curvature=critical[1],
            limit=critical[2],
        )
    yield from feature_findings("geometric_growth", text, tail[0], tail[-1])


def divergence_of_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a loss that rises from the start, or that loses what it had learned."""
    first = onset(run, *loss_keys(run))
    points = first.before if first is not None else finite_records(records(run, "loss"))
    values = values_of(points)
    if len(values) < 4 or not loss_is_objective(run) or (first is None and divergence_kind(values) is None):
        return
    smoothed = rolling_medians(values)
    best = smoothed.index(min(smoothed))
    if values[-1] < 1.3 * smoothed[best] and first is not None:
        return
    if best <= max(1, len(values) // 8) and min(smoothed) > 0.8 * values[0]:
        text = format_text(
            "损失几乎从头就在升：{low}（{begin}）→ {high}（{end}）",
            "The loss rises almost from the start: {low} ({begin}) → {high} ({end})",
            low=values[0],
            begin=points[0],
            high=values[-1],
            end=points[-1],
        )
        yield from feature_findings("rises_from_start", text, points[0], points[-1])
    elif smoothed[best] < 0.8 * values[0]:
        text = format_text(
            "损失先降到 {low}（{begin}），后来回到 {high}（{end}）",
            "The loss falls to {low} ({begin}) and is back at {high} later ({end})",
            low=values[best],
            begin=points[best],
            high=end_level(values),
            end=points[-1],
        )
        yield from feature_findings("lost_after_learning", text, points[best], points[-1])


def initial_loss_spike(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the loss jumps far up in the first steps and returns only to where it began."""
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    if len(values) >= 10 and loss_is_objective(run) and divergence_kind(values) == "spiked":
        top = max(points, key=lambda each: each.value)
        text = format_text(
            "损失从 {first} 冲到 {high}（{at}），之后没有学到东西",
            "The loss is thrown from {first} up to {high} ({at}) and learns nothing afterwards",
            first=values[0],
            high=top.value,
            at=top,
        )
        yield from feature_findings("thrown_up", text, points[0], top)


def gradient_against_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the gradient norm rises many times over while the loss falls."""
    losses, norms = finite_records(records(run, "loss")), finite_records(records(run, "grad_norm"))
    values = values_of(losses)
    if len(values) < 9 or len(norms) < 9 or not run.from_start or not loss_is_objective(run):
        return
    smoothed = rolling_medians(values)
    lowest = losses[smoothed.index(min(smoothed))]
    until = [each for each in norms if record_position(each) <= record_position(lowest)]
    third = len(until) // 3
    if third < 2 or min(smoothed) > 0.4 * values[0]:
        return
    low, high = median(values_of(until[:third])), median(values_of(until[-third:]))
    if (
        high > 1.4 * low > 0
        and high > (5 if third < 4 else 2.5) * norms[0].value
        and share_ascending(rolling_medians(values_of(until))) > 0.6
    ):
        text = format_text(
            "损失降到 {loss} 时，梯度范数反而从 {low} 升到 {high}",
            "While the loss falls to {loss}, the gradient norm rises from {low} to {high}",
            loss=min(smoothed),
            low=norms[0].value,
            high=high,
        )
        yield from feature_findings("gradient_against_loss", text, norms[0], until[-1])


def gradient_adds_up(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the gradient norm grows in proportion to the number of steps, from the first one on."""
    norms = finite_records(records(run, "grad_norm"))
    first = norms[0].value if norms else 0.0
    values = rolling_medians(values_of(norms)[: max(8, len(norms) // 2)])
    losses = finite_records(records(run, "loss"))
    if not run.from_start or len(values) < 6 or min(values) <= 0 or (norms[0].step or 0) > 20 or len(losses) < 6:
        return
    slope, fit = _line(values)
    if fit > 0.8 and slope > 0 and values[-1] > 3 * first and share_ascending(values) >= 0.6:
        _, exponential = _line([math.log(value) for value in values])
        if fit >= exponential - _LINEAR_MARGIN:
            text = format_text(
                "梯度范数随步数直线上升：{low} → {high}",
                "The gradient norm grows in proportion to the steps: {low} → {high}",
                low=first,
                high=values[-1],
            )
            moves = min(rolling_medians(values_of(losses))) < 0.85 * losses[0].value
            yield from feature_findings(
                "gradient_adds_up" if moves else "gradient_adds_up_while_flat", text, norms[0], norms[len(values) - 1]
            )
