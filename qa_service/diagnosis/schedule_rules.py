"""Rules on where a run turns, its learning rate, restarts and spikes."""

import math
from collections.abc import Iterator
from statistics import median

from qa_service.diagnosis.curves import (
    climbing_tail,
    finite_records,
    format_text,
    is_adaptive,
    loss_is_objective,
    noise_deviation,
    rate_at,
    records,
    rolling_medians,
    values_of,
)
from qa_service.diagnosis.divergence import divergence_kind
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.nan_rules import diverges, onset
from qa_service.diagnosis.nonfinite_harm import loss_keys
from qa_service.diagnosis.schedule import lost_at_rate_jump, rate_jump, record_position
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_ROSE = 2.0
_LATE_STEPS = 1000
_SPIKE = 8.0


def turning_point(run: TrainingRun) -> Record | None:
    """The turning point of a run: the last record before the first nan, else the lowest loss if it diverges; None
    otherwise.
    """
    first = onset(run, *loss_keys(run), "grad_norm")
    if first is not None:
        return first.before[-1] if first.before else first.bad
    points = finite_records(records(run, "loss"))
    if diverges(run):
        smoothed = rolling_medians(values_of(points))
        return points[smoothed.index(min(smoothed))]
    return None


def _start_of_rise(run: TrainingRun, turn: Record) -> Record:
    """The first record after the turn whose loss is far above the best; the turn itself if there is none."""
    points = finite_records(records(run, "loss"))
    far = max(5 * abs(turn.value), 0.3 * abs(points[0].value)) if points else math.inf
    return next((each for each in points if record_position(each) > record_position(turn) and each.value > far), turn)


def turn_by_schedule(run: TrainingRun) -> Iterator[Finding]:
    """Findings on where the run turns (`turning_point`): at the end of the warm-up, or where the learning rate rose
    again.
    """
    turn = turning_point(run)
    rates = finite_records(records(run, "lr"))
    if turn is None and (lost := lost_at_rate_jump(run)):
        turn = lost[1]
    if turn is None or len(rates) < 3:
        return
    bad = onset(run, *loss_keys(run), "grad_norm")
    until = max(record_position(_start_of_rise(run, turn)), record_position(bad.bad) if bad else 0.0)
    if (found := rate_jump(rates, until)) is not None:
        low, high = found
        text = format_text(
            "学习率在{at}从 {low} 跳到 {high}，损失随后变坏",
            "At {at} the learning rate jumps from {low} to {high}, and then the loss goes bad",
            at=high,
            low=low.value,
            high=high.value,
        )
        yield from feature_findings("rate_rose_again", text, low, high)
        return
    before = [each for each in rates if record_position(each) <= record_position(turn) + 1e-9] or rates[:1]
    values = values_of(before)
    now, top = values[-1], max(values_of(rates))
    recent = min(values[-6:])
    fell = len(values) >= 4 and min(values) < 0.7 * max(values[: values.index(min(values)) + 1])
    if fell and recent > 0 and now >= 1.8 * recent and values[-1] == max(values[values.index(min(values)) :]):
        text = format_text(
            "学习率在{at}之前又从 {low} 升到 {high}",
            "Before {at} the learning rate goes up again, from {low} to {high}",
            at=turn,
            low=recent,
            high=now,
        )
        yield from feature_findings("rate_rose_again", text, before[-1])
    elif now >= 0.85 * top and values[0] < 0.5 * now:
        text = format_text(
            "学习率刚升到最高（{rate}），{at}就出事",
            "The learning rate has just reached its peak ({rate}) when it turns, at {at}",
            rate=now,
            at=turn,
        )
        yield from feature_findings("rate_at_peak", text, before[-1])


def loss_after_restart(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the loss is higher after a restart than before it."""
    events = [event for event in run.events if event.kind == "restart"]
    points = records(run, "loss")
    for event in events:
        place = event.line if event.line is not None else event.step
        if place is None:
            continue
        before = [point for point in points if record_position(point) < place and math.isfinite(point.value)]
        after = [point for point in points if record_position(point) >= place]
        if before and after and not after[0].value < 1.5 * median(values_of(before[-5:])):
            text = format_text(
                "在{at}恢复训练后，损失从 {low} 跳到 {high}",
                "After resuming at {at} the loss jumps from {low} to {high}",
                at=after[0],
                low=before[-1].value,
                high=after[0].value,
            )
            yield from feature_findings("jump_at_restart", text, before[-1], after[0])
            return


def unusual_learning_rate(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the learning rate, compared with what is usual for the optimizer."""
    turn = turning_point(run)
    rate = rate_at(run, turn)
    if rate is None:
        return
    adaptive = is_adaptive(run)
    high = 1e-2 if adaptive else 0.3 if adaptive is False else 0.5
    tiny = 2e-7 if adaptive else 2e-6
    feature = "rate_zero" if rate == 0 else "rate_tiny" if rate <= tiny else "rate_high" if rate >= high else ""
    if not feature:
        feature = "rate_low" if rate <= (1e-5 if adaptive else 1e-4) else "rate_usual"
    usual = {
        "rate_zero": ("学习率是 0", "The learning rate is 0"),
        "rate_tiny": ("学习率只有 {rate}", "The learning rate is only {rate}"),
        "rate_usual": ("学习率 {rate} 是常用的", "The learning rate, {rate}, is a usual one"),
        "rate_low": ("学习率是 {rate}，不大", "The learning rate, {rate}, is not large"),
        "rate_high": ("学习率有 {rate}，偏大", "The learning rate, {rate}, is large"),
    }
    rates = finite_records(records(run, "lr"))
    yield from feature_findings(feature, format_text(*usual[feature], rate=rate), rates[-1] if rates else None)


def loss_spikes(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a sudden turn after more than 1000 quiet steps, and two or more single losses far above the
    others.
    """
    turn = turning_point(run)
    points = [
        each
        for each in finite_records(records(run, "loss"))
        if turn is None or record_position(each) <= record_position(turn)
    ]
    values = values_of(points)
    climbed = climbing_tail(points)
    quiet = not climbed or climbed[-1].value < _ROSE * climbed[0].value
    if (
        turn is not None
        and (turn.step or 0) > _LATE_STEPS
        and len(values) >= 10
        and quiet
        and _rises_at_once(run, turn)
    ):
        text = format_text(
            "安静了 {steps} 步之后突然出事", "After {steps} quiet steps it turns all at once", steps=str(turn.step)
        )
        yield from feature_findings("late_spike", text, turn)
    if len(values) < 12:
        return
    spread, smoothed = max(noise_deviation(values), 1e-9), rolling_medians(values)
    found = [
        point
        for point, level in zip(points[2:-2], smoothed[2:-2], strict=True)
        if point.value - level > _SPIKE * spread and point.value > 1.5 * abs(level)
    ]
    if len(found) >= 2:
        text = format_text(
            "此前已有 {count} 个尖峰，最高 {high}（{at}）",
            "Before that, {count} spikes, the highest {high} ({at})",
            count=str(len(found)),
            high=max(values_of(found)),
            at=max(found, key=lambda each: each.value),
        )
        yield from feature_findings("spikes", text, *found[:3])


def single_loss_jump(run: TrainingRun) -> Iterator[Finding]:
    """Findings on one record far above all before it, in a run that was learning and whose loss diverges."""
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    if not loss_is_objective(run) or len(values) < 10 or divergence_kind(values) is None:
        return
    for index in range(3, len(values) - 1):
        before = values[max(0, index - 4) : index]
        learning = median(before) < 0.7 * values[0] and max(before) < 3 * median(before)
        if learning and values[index] > max(10 * median(before), 5 * max(before)):
            text = format_text(
                "损失从 {low} 一下跳到 {high}（{at}）",
                "The loss jumps from {low} to {high} ({at}) at once",
                low=values[index - 1],
                high=values[index],
                at=points[index],
            )
            yield from feature_findings("jump", text, points[index - 1], points[index])
            return


def _rises_at_once(run: TrainingRun, turn: Record) -> bool:
    """Whether the first loss after the turn is not finite, or at least 1.8 times the one at the turn."""
    after = [each for each in records(run, "loss") if record_position(each) > record_position(turn)]
    return bool(after) and not after[0].value < 1.8 * abs(turn.value)
