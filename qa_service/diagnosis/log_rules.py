"""Rules on the series and messages of a run: what a log shows, with its lines and numbers, for and against causes.

A rule is a function of a run that yields findings. What a feature weighs stands in `weights`. Rules are asked only once
the harm gate is open; they need not be silent on healthy runs.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from qa_service.diagnosis.curves import (
    climb,
    end_level,
    finite,
    first_nonfinite,
    is_adaptive,
    is_bfloat,
    is_half,
    is_objective,
    is_single,
    noise,
    number_setting,
    rate_at,
    records,
    rising_tail,
    say,
    setting,
    share_ascending,
    smooth,
    values_of,
)
from qa_service.diagnosis.divergence import divergence
from qa_service.diagnosis.evidence import Rule, weigh
from qa_service.diagnosis.harm import gap, hidden_nan, lasting_nonfinite, loss_keys, scale_path, skipped_steps
from qa_service.diagnosis.message_rules import messages
from qa_service.diagnosis.number_grid import grid_of
from qa_service.diagnosis.parts import parts_of_loss
from qa_service.diagnosis.schedule import lost_at_rate_jump, position, rate_jump
from qa_service.diagnosis.standstill import classes_at_chance, gradient_always_zero
from qa_service.diagnosis.standstill_rules import accuracy, at_chance, flat, gradient_while_flat, tiny_loss, zero_loss
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_ROSE, _STEADY = 2.0, 1.6
_CONVERGED = 0.1  # of the first loss: whatever happens below is the noise of a run that has learned
_FIRST_STEPS = 2
MEANS = ("hf_trainer", "llama_factory", "trainer_state", "trainer_log", "keras")
"""Formats whose losses are means over the steps since the record before."""
_HUGE_GRADIENT = 1e3
_BENT = 0.06
"""By so much an exponential may fit a growth better than a line, for want of records."""
_LATE_STEPS = 1000
_HUGE, _HUGE_SUM = 50, 5e3
"""A first loss above it is huge; a sum of parts, each with a weight, has a scale of its own."""
_SPIKE = 8.0
_SWING = 1.5


# L1, L2, L9: where inf and nan begin


@dataclass(frozen=True, slots=True)
class Onset:
    """Where a series stops being finite."""

    key: str
    bad: Record
    index: int
    before: list[Record]
    """The finite records before, in order."""

    @property
    def rise(self) -> float:
        """The last finite value as a multiple of what was usual before it; 1 where that is not known."""
        values = values_of(self.before)
        if len(values) < 2 or values[-1] <= 0:
            return 1.0
        usual = max(min(median(values[-8:-1]), *smooth(values[-8:])), _CONVERGED * values[0])
        return values[-1] / usual if usual > 0 else 1.0


def onset(run: TrainingRun, *keys: str) -> Onset | None:
    """The first of these series that stops being finite for good; None if none does."""
    found: list[Onset] = []
    for key in keys:
        points = records(run, key)
        bad = lasting_nonfinite(points)
        index = first_nonfinite(points)
        if bad is not None and index is not None:
            found.append(Onset(key, bad, index, finite(points[:index])))
    return min(found, key=lambda each: position(each.bad), default=None)


def nonfinite_loss(run: TrainingRun) -> Iterator[Finding]:
    """L1, L2: the first line that is not finite, and what came before it."""
    first = onset(run, *loss_keys(run))
    if first is None:
        return
    bad = first.bad
    if first.index == 0:
        if run.from_start or (bad.step is not None and bad.step <= _FIRST_STEPS):
            text = say(
                "{key} 从第一条记录（{at}）起就是 {value}",
                "{key} is {value} in the first record ({at})",
                key=first.key,
                at=bad,
                value=bad.value,
            )
            yield from weigh("nan_at_first_record", text, bad)
            if math.isinf(bad.value):
                yield from weigh("loss_inf_first", say("而且先是 inf，不是 nan", "It is inf first, not nan"), bad)
        return
    last = first.before[-1] if first.before else None
    if last is None:
        return
    if _one_update_later(run, first):
        text = say(
            "第一次更新之后，{key} 从 {last} 变成 {value}（{at}）",
            "After the first update, {key} goes from {last} to {value} ({at})",
            key=first.key,
            last=last.value,
            value=bad.value,
            at=bad,
        )
        yield from weigh("nan_after_first_update", text, last, bad)
    yield from _before_nan(first, last)
    if len(first.before) < 3 and first.rise < _STEADY and run.from_start:
        text = say(
            "{key} 只在开头正常（{high}），{at}已是 {value}",
            "{key} is normal only at the beginning ({high}) and {value} at {at}",
            key=first.key, high=last.value, at=bad, value=bad.value,
        )  # fmt: skip
        yield from weigh("nan_soon", text, last, bad)
    if math.isinf(bad.value) and first.rise < _STEADY:
        text = say("{key} 先变成 inf，不是 nan（{at}）", "{key} is inf first, not nan ({at})", key=first.key, at=bad)
        yield from weigh("loss_inf_first", text, bad)


def _one_update_later(run: TrainingRun, first: Onset) -> bool:
    one, two = first.before[-1].step, first.bad.step
    adjacent = one is not None and two is not None and two - one <= 1 and one <= _FIRST_STEPS
    return run.from_start and first.index == 1 and (adjacent or one is None)


def _before_nan(first: Onset, last: Record) -> Iterator[Finding]:
    tail = climb(first.before) or rising_tail(first.before)
    least = max(tail[0].value, _CONVERGED * first.before[0].value) if tail else 0.0
    grew = tail[-1].value / least if len(tail) >= 2 and least > 0 else 1.0
    if max(first.rise, grew) >= _ROSE:
        begin = tail[0] if grew >= first.rise and len(tail) >= 2 else first.before[max(0, len(first.before) - 4)]
        text = say(
            "{key} 先从 {low}（{begin}）升到 {high}（{at}），然后才是 {value}",
            "{key} first rises from {low} ({begin}) to {high} ({at}), then it is {value}",
            key=first.key,
            low=begin.value,
            begin=begin,
            high=last.value,
            at=last,
            value=first.bad.value,
        )
        yield from weigh("rose_before_nan", text, begin, last, first.bad)
    elif len(first.before) >= 3 and first.rise < _STEADY:
        if 0 < last.value < 0.3 * first.before[0].value:
            small = say("那时损失已经很小（{low}）", "The loss was small by then ({low})", low=last.value)
            yield from weigh("nan_once_confident", small, last)
        text = say(
            "{key} 到{at}还正常（{high}），下一条就是 {value}",
            "{key} is normal up to {at} ({high}), and {value} in the next record",
            key=first.key,
            at=last,
            high=last.value,
            value=first.bad.value,
        )
        yield from weigh("sudden_nan", text, last, first.bad)


def comes_and_goes(run: TrainingRun) -> Iterator[Finding]:
    """Single losses that are nan while the run goes on: the weights are not poisoned."""
    losses = records(run, "loss")
    index = first_nonfinite(losses)
    if index is None or hidden_nan(run):
        return
    after = [each for each in losses[index:] if math.isfinite(each.value)]
    bad = [each for each in losses if not math.isfinite(each.value)]
    if len(after) >= 3 and len(bad) >= 2 and len({each.value for each in after}) >= 3:
        text = say(
            "损失在{at}是 {value}，后来又正常：权重没有被带坏",
            "The loss is {value} at {at} and normal again later: the weights are not harmed",
            at=bad[0], value=bad[0].value,
        )  # fmt: skip
        yield from weigh("nan_comes_and_goes", text, bad[0], after[0])


def nonfinite_gradient(run: TrainingRun) -> Iterator[Finding]:
    """L9: the gradient is not finite while the loss still is; or it has grown."""
    norms = records(run, "grad_norm")
    first, loss = onset(run, "grad_norm"), onset(run, *loss_keys(run))
    if first is not None and hidden_nan(run) is None and not _loss_is_bad_at(run, first.bad):
        feature = "gradient_nan_first" if math.isnan(first.bad.value) else "gradient_inf_first"
        text = say(
            "{at}的梯度范数是 {value}，损失还是有限数",
            "At {at} the gradient norm is {value} while the loss is finite",
            at=first.bad,
            value=first.bad.value,
        )
        yield from weigh(feature, text, first.bad)
    end = first or loss
    before = [each for each in finite(norms) if end is None or position(each) < position(end.bad)]
    if len(before) >= 3 and (end or _diverges(run)):
        yield from _gradient_growth(before)


def _loss_is_bad_at(run: TrainingRun, point: Record) -> bool:
    return any(
        not math.isfinite(each.value) and position(each) <= position(point)
        for key in loss_keys(run)
        for each in records(run, key)
    )


def _gradient_growth(before: Sequence[Record]) -> Iterator[Finding]:
    values = values_of(before)
    usual = median(values[: max(2, len(values) // 2)])
    tail = rising_tail(before)
    if usual <= 0 or values[-1] < 5 * usual:
        return
    text = say(
        "梯度范数从平时的 {low} 升到 {high}（{at}）",
        "The gradient norm rises from its usual {low} to {high} ({at})",
        low=usual,
        high=values[-1],
        at=before[-1],
    )
    if len(tail) >= 3:
        yield from weigh("gradient_rose", text, tail[0], before[-1])
    elif values[-1] > 20 * usual:
        yield from weigh("gradient_explodes_at_once", text, before[-1])


def _diverges(run: TrainingRun) -> bool:
    values = values_of(finite(records(run, "loss")))
    return len(values) >= 5 and is_objective(run) and divergence(values) is not None


def first_gradient(run: TrainingRun) -> Iterator[Finding]:
    """The size of the gradient before anything was learned, by itself and against the loss."""
    norms, losses = finite(records(run, "grad_norm")), finite(records(run, "loss"))
    if norms and losses and run.from_start and losses[0].value > 20 and (losses[0].step or 0) <= 20:
        ratio = norms[0].value / losses[0].value
        text = say(
            "开始时梯度范数是损失的 {ratio} 倍", "At the start the gradient norm is {ratio} times the loss", ratio=ratio
        )
        feature = "steep_at_start" if ratio > 2 else "gentle_at_start" if ratio < 0.5 else "even_at_start"
        yield from weigh(feature, text, norms[0])
    if (
        norms
        and _is_before_updates(run, norms[0])
        and run.from_start
        and norms[0].value > _HUGE_GRADIENT
        and not is_half(run)
    ):
        text = say(
            "{at}的梯度范数已有 {value}",
            "At {at} the gradient norm is {value} already",
            at=norms[0],
            value=norms[0].value,
        )
        yield from weigh("huge_gradient_at_start", text, norms[0])


# L3: growth


def growth(run: TrainingRun) -> tuple[float, list[Record]] | None:
    """(growth of the loss per step, the records) where it is geometric, record by record; None where it is not."""
    points = finite(records(run, "loss"))
    first = onset(run, *loss_keys(run))
    if first is not None and first.key == "loss":
        points = first.before
    tail = rising_tail(points)
    if len(tail) < 4 or tail[0].value <= 0:
        return None
    logs = [math.log(point.value) for point in tail]
    per_record, fit = _line(logs)
    gap_ = _steps_between(tail)
    if fit < 0.9 or per_record < math.log(1.15):
        return None
    return math.exp(min(per_record / gap_, 600.0)), tail


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
    found = growth(run)
    rate = rate_at(run, found[1][-1]) if found else None
    if found is None or not rate or rate <= 0 or is_adaptive(run):
        return None
    curvature = (1 + math.sqrt(found[0])) / rate
    return rate, curvature, 2 / curvature


def geometric_growth(run: TrainingRun) -> Iterator[Finding]:
    """L3: the loss grows by the same factor again and again."""
    found = growth(run)
    if found is None:
        return
    factor, tail = found
    text = say(
        "从{begin}到{end}，损失每步乘以 {factor}",
        "From {begin} to {end} the loss is multiplied by {factor} a step",
        begin=tail[0],
        end=tail[-1],
        factor=factor,
    )
    if critical := critical_rate(run):
        text = say(
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
    yield from weigh("geometric_growth", text, tail[0], tail[-1])


def divergence_of_loss(run: TrainingRun) -> Iterator[Finding]:
    """A loss that rises from the start, or that loses what it had learned."""
    first = onset(run, *loss_keys(run))
    points = first.before if first is not None else finite(records(run, "loss"))
    values = values_of(points)
    if len(values) < 4 or not is_objective(run) or (first is None and divergence(values) is None):
        return
    smoothed = smooth(values)
    best = smoothed.index(min(smoothed))
    if values[-1] < 1.3 * smoothed[best] and first is not None:
        return
    if best <= max(1, len(values) // 8) and min(smoothed) > 0.8 * values[0]:
        text = say(
            "损失几乎从头就在升：{low}（{begin}）→ {high}（{end}）",
            "The loss rises almost from the start: {low} ({begin}) → {high} ({end})",
            low=values[0],
            begin=points[0],
            high=values[-1],
            end=points[-1],
        )
        yield from weigh("rises_from_start", text, points[0], points[-1])
    elif smoothed[best] < 0.8 * values[0]:
        text = say(
            "损失先降到 {low}（{begin}），后来回到 {high}（{end}）",
            "The loss falls to {low} ({begin}) and is back at {high} later ({end})",
            low=values[best],
            begin=points[best],
            high=end_level(values),
            end=points[-1],
        )
        yield from weigh("lost_after_learning", text, points[best], points[-1])


def thrown_up(run: TrainingRun) -> Iterator[Finding]:
    """The first steps throw the loss far up; it comes back to where it began, and no further."""
    points = finite(records(run, "loss"))
    values = values_of(points)
    if len(values) >= 10 and is_objective(run) and divergence(values) == "thrown":
        top = max(points, key=lambda each: each.value)
        text = say(
            "损失从 {first} 冲到 {high}（{at}），之后没有学到东西",
            "The loss is thrown from {first} up to {high} ({at}) and learns nothing afterwards",
            first=values[0], high=top.value, at=top,
        )  # fmt: skip
        yield from weigh("thrown_up", text, points[0], top)


def gradient_against_loss(run: TrainingRun) -> Iterator[Finding]:
    """The gradient norm rises many times over while the loss falls."""
    losses, norms = finite(records(run, "loss")), finite(records(run, "grad_norm"))
    values = values_of(losses)
    if len(values) < 9 or len(norms) < 9 or not run.from_start or not is_objective(run):
        return
    smoothed = smooth(values)
    lowest = losses[smoothed.index(min(smoothed))]
    until = [each for each in norms if position(each) <= position(lowest)]
    third = len(until) // 3
    if third < 2 or min(smoothed) > 0.4 * values[0]:
        return
    low, high = median(values_of(until[:third])), median(values_of(until[-third:]))
    if (
        high > 1.4 * low > 0
        and high > (5 if third < 4 else 2.5) * norms[0].value
        and share_ascending(smooth(values_of(until))) > 0.6
    ):
        text = say(
            "损失降到 {loss} 时，梯度范数反而从 {low} 升到 {high}",
            "While the loss falls to {loss}, the gradient norm rises from {low} to {high}",
            loss=min(smoothed), low=norms[0].value, high=high,
        )  # fmt: skip
        yield from weigh("gradient_against_loss", text, norms[0], until[-1])


def gradient_adds_up(run: TrainingRun) -> Iterator[Finding]:
    """The gradient norm grows like the number of steps, from the first one on."""
    norms = finite(records(run, "grad_norm"))
    first = norms[0].value if norms else 0.0
    values = smooth(values_of(norms)[: max(8, len(norms) // 2)])
    losses = finite(records(run, "loss"))
    if not run.from_start or len(values) < 6 or min(values) <= 0 or (norms[0].step or 0) > 20 or len(losses) < 6:
        return
    slope, fit = _line(values)
    if fit > 0.8 and slope > 0 and values[-1] > 3 * first and share_ascending(values) >= 0.6:
        _, bent = _line([math.log(value) for value in values])
        if fit >= bent - _BENT:
            text = say(
                "梯度范数随步数直线上升：{low} → {high}",
                "The gradient norm grows in proportion to the steps: {low} → {high}",
                low=first,
                high=values[-1],
            )
            moves = min(smooth(values_of(losses))) < 0.85 * losses[0].value
            yield from weigh(
                "gradient_adds_up" if moves else "gradient_adds_up_while_flat", text, norms[0], norms[len(values) - 1]
            )


# L4, L14: the schedule


def turning_point(run: TrainingRun) -> Record | None:
    """Where things turn: the first nan, else the last good loss before a rise; None if nothing turns."""
    first = onset(run, *loss_keys(run), "grad_norm")
    if first is not None:
        return first.before[-1] if first.before else first.bad
    points = finite(records(run, "loss"))
    if _diverges(run):
        smoothed = smooth(values_of(points))
        return points[smoothed.index(min(smoothed))]
    return None


def _end_of_quiet(run: TrainingRun, turn: Record) -> Record:
    """The first record after the turn whose loss is far above the best; the turn itself if there is none."""
    points = finite(records(run, "loss"))
    far = max(5 * abs(turn.value), 0.3 * abs(points[0].value)) if points else math.inf
    return next((each for each in points if position(each) > position(turn) and each.value > far), turn)


def schedule(run: TrainingRun) -> Iterator[Finding]:
    """L4: the run turns at the end of the warm-up, or where the learning rate has gone up again."""
    turn = turning_point(run)
    rates = finite(records(run, "lr"))
    if turn is None and (lost := lost_at_rate_jump(run)):
        turn = lost[1]
    if turn is None or len(rates) < 3:
        return
    bad = onset(run, *loss_keys(run), "grad_norm")
    until = max(position(_end_of_quiet(run, turn)), position(bad.bad) if bad else 0.0)
    if (jump_ := rate_jump(rates, until)) is not None:
        low, high = jump_
        text = say(
            "学习率在{at}从 {low} 跳到 {high}，损失随后变坏",
            "At {at} the learning rate jumps from {low} to {high}, and then the loss goes bad",
            at=high, low=low.value, high=high.value,
        )  # fmt: skip
        yield from weigh("rate_rose_again", text, low, high)
        return
    before = [each for each in rates if position(each) <= position(turn) + 1e-9] or rates[:1]
    values = values_of(before)
    now, top = values[-1], max(values_of(rates))
    recent = min(values[-6:])
    fell = len(values) >= 4 and min(values) < 0.7 * max(values[: values.index(min(values)) + 1])
    if fell and recent > 0 and now >= 1.8 * recent and values[-1] == max(values[values.index(min(values)) :]):
        text = say(
            "学习率在{at}之前又从 {low} 升到 {high}",
            "Before {at} the learning rate goes up again, from {low} to {high}",
            at=turn,
            low=recent,
            high=now,
        )
        yield from weigh("rate_rose_again", text, before[-1])
    elif now >= 0.85 * top and values[0] < 0.5 * now:
        text = say(
            "学习率刚升到最高（{rate}），{at}就出事",
            "The learning rate has just reached its peak ({rate}) when it turns, at {at}",
            rate=now,
            at=turn,
        )
        yield from weigh("rate_at_peak", text, before[-1])


def restart(run: TrainingRun) -> Iterator[Finding]:
    """L14: the loss is higher after a restart than before it."""
    events = [event for event in run.events if event.kind == "restart"]
    points = records(run, "loss")
    for event in events:
        place = event.line if event.line is not None else event.step
        if place is None:
            continue
        before = [point for point in points if position(point) < place and math.isfinite(point.value)]
        after = [point for point in points if position(point) >= place]
        if before and after and not after[0].value < 1.5 * median(values_of(before[-5:])):
            text = say(
                "在{at}恢复训练后，损失从 {low} 跳到 {high}",
                "After resuming at {at} the loss jumps from {low} to {high}",
                at=after[0],
                low=before[-1].value,
                high=after[0].value,
            )
            yield from weigh("jump_at_restart", text, before[-1], after[0])
            return


def learning_rate(run: TrainingRun) -> Iterator[Finding]:
    """The learning rate against what the optimizer usually bears."""
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
    rates = finite(records(run, "lr"))
    yield from weigh(feature, say(*usual[feature], rate=rate), rates[-1] if rates else None)


def spikes(run: TrainingRun) -> Iterator[Finding]:
    """L13: single losses or gradients far above the usual, in a run that also comes to harm."""
    turn = turning_point(run)
    points = [each for each in finite(records(run, "loss")) if turn is None or position(each) <= position(turn)]
    values = values_of(points)
    climbed = climb(points)
    quiet = not climbed or climbed[-1].value < _ROSE * climbed[0].value
    if turn is not None and (turn.step or 0) > _LATE_STEPS and len(values) >= 10 and quiet and _steep(run, turn):
        text = say(
            "安静了 {steps} 步之后突然出事", "After {steps} quiet steps it turns all at once", steps=str(turn.step)
        )
        yield from weigh("late_spike", text, turn)
    if len(values) < 12:
        return
    spread, smoothed = max(noise(values), 1e-9), smooth(values)
    found = [
        point
        for point, level in zip(points[2:-2], smoothed[2:-2], strict=True)
        if point.value - level > _SPIKE * spread and point.value > 1.5 * abs(level)
    ]
    if len(found) >= 2:
        text = say(
            "此前已有 {count} 个尖峰，最高 {high}（{at}）",
            "Before that, {count} spikes, the highest {high} ({at})",
            count=str(len(found)),
            high=max(values_of(found)),
            at=max(found, key=lambda each: each.value),
        )
        yield from weigh("spikes", text, *found[:3])


def jump(run: TrainingRun) -> Iterator[Finding]:
    """One record far above all before it, in a run that was learning, and no way back."""
    points = finite(records(run, "loss"))
    values = values_of(points)
    if not is_objective(run) or len(values) < 10 or divergence(values) is None:
        return
    for index in range(3, len(values) - 1):
        before = values[max(0, index - 4) : index]
        learning = median(before) < 0.7 * values[0] and max(before) < 3 * median(before)
        if learning and values[index] > max(10 * median(before), 5 * max(before)):
            text = say(
                "损失从 {low} 一下跳到 {high}（{at}）", "The loss jumps from {low} to {high} ({at}) at once",
                low=values[index - 1], high=values[index], at=points[index],
            )  # fmt: skip
            yield from weigh("jump", text, points[index - 1], points[index])
            return


def _steep(run: TrainingRun, turn: Record) -> bool:
    """Whether the record after the turn is already far away."""
    after = [each for each in records(run, "loss") if position(each) > position(turn)]
    return bool(after) and not after[0].value < 1.8 * abs(turn.value)


# the first loss


def first_loss(run: TrainingRun) -> Iterator[Finding]:
    """The first loss against that of guessing."""
    points = finite(records(run, "loss"))
    if not points or not run.from_start or points[0].value <= 0 or (points[0].step or 0) > 20:
        return
    if gradient_always_zero(run):
        return
    if run.format in MEANS and (points[0].step or 0) > 1:
        return  # the mean over the first steps, a throw among them
    value, batch = points[0].value, number_setting(run, "batch_size")
    huge = "huge_first_loss" if _is_before_updates(run, points[0]) else "huge_early_loss"
    classes = number_setting(run, "classes") or classes_at_chance(run)
    if classes and classes >= 2:
        ratio = value / math.log(classes)
        if batch and batch >= 4 and abs(ratio / batch - 1) < 0.4:
            text = say(
                "第一个损失 {value} 约为 ln {classes} 的 {batch} 倍，正是批量大小",
                "The first loss, {value}, is about ln {classes} times {batch}, the batch size",
                value=value,
                classes=str(int(classes)),
                batch=str(int(batch)),
            )
            yield from weigh("first_loss_is_batch_times_chance", text, points[0])
        if ratio > 4:
            text = say(
                "第一个损失 {value} 是瞎猜水平 ln {classes} 的 {ratio} 倍",
                "The first loss, {value}, is {ratio} times that of guessing, ln {classes}",
                value=value,
                classes=str(int(classes)),
                ratio=ratio,
            )
            yield from weigh(huge, text, points[0])
        elif ratio < 2:
            yield from _usual(points[0])
    elif value > (_HUGE_SUM if parts_of_loss(run) else _HUGE):
        text = say("第一个损失就有 {value}", "The first loss is {value} already", value=value)
        yield from weigh(huge, text, points[0])
    elif 0.3 <= value <= 13:
        yield from _usual(points[0])


def _is_before_updates(run: TrainingRun, point: Record) -> bool:
    """Whether a first record is of the initial weights, not of those after some updates."""
    return run.format not in MEANS if point.step is None else point.step <= 1


def _usual(point: Record) -> Iterator[Finding]:
    text = say("第一个损失 {value} 是正常的", "The first loss, {value}, is a usual one", value=point.value)
    yield from weigh("usual_first_loss", text, point)


# L8: the loss scale and the format


def loss_scale(run: TrainingRun) -> Iterator[Finding]:
    """L8: the loss scale goes down to its floor, or updates go on being skipped."""
    scales = finite(records(run, "loss_scale"))
    if scale_path(run) == "staircase":
        text = say(
            "损失缩放系数 {first} → {last}（{at}），没有停下",
            "The loss scale goes {first} → {last} ({at}) without finding its place",
            first=scales[0].value,
            last=scales[-1].value,
            at=scales[-1],
        )
        yield from weigh("scale_falls", text, scales[0], scales[-1])
        if first := onset(run, *loss_keys(run)):
            text = say(
                "缩放系数下降时，损失本身也是 {value}（{at}）",
                "While the scale falls, the loss itself is {value} ({at})",
                value=first.bad.value,
                at=first.bad,
            )
            yield from weigh("scale_falls_and_loss_not_finite", text, first.bad)
    elif (count := skipped_steps(run)) > 3:
        text = say("跳过了 {count} 次更新", "{count} updates are skipped", count=str(count))
        yield from weigh("updates_skipped", text, *scales[-1:])


def number_format(run: TrainingRun) -> Iterator[Finding]:
    """What the format of the numbers makes more or less likely."""
    feature = "bfloat" if is_bfloat(run) else "single" if is_single(run) else "half" if is_half(run) else ""
    words = {
        "bfloat": ("用 bfloat16 训练", "Trained in bfloat16"),
        "single": ("用 float32 训练", "Trained in float32"),
        "half": ("用 float16 训练", "Trained in float16"),
    }
    if feature:
        yield from weigh(feature, say(*words[feature]))
    if grid := grid_of(run):
        text = say(
            "打印出来的数都落在 {grid} 的格点上：权重和梯度本身就是 {grid}，没有 float32 的副本",
            "Every printed number lies on the grid of {grid}: weights and gradients themselves are {grid}, "
            "with no copy in float32",
            grid=grid,
        )  # fmt: skip
        yield from weigh(f"digits_of_{grid}", text)
    losses = records(run, "loss")
    pure = (
        feature == "half"
        and run.source == "trace"
        and not setting(run, "autocast")
        and "autocast" not in setting(run, "dtype")
        and "mixed" not in setting(run, "dtype")
    )
    early = first_nonfinite(losses)
    if pure and setting(run, "dtype") and is_adaptive(run) and early in (1, 2) and run.from_start:
        text = say(
            "权重和 Adam 的状态都是 float16，eps 存不下", "Weights and Adam's state are float16, where its eps is 0"
        )
        yield from weigh("half_state", text, losses[early])


def architecture(run: TrainingRun) -> Iterator[Finding]:
    """What the settings and names say of the architecture."""
    names = " ".join([setting(run, "model"), setting(run, "architecture"), run.name.lower()])
    if re.search(r"\b(?:rnn|lstm|gru|seq2seq)", names):
        yield from weigh("recurrent", say("这是循环网络", "This is a recurrent net"))


# L12: training and validation


def validation(run: TrainingRun) -> Iterator[Finding]:
    """L12: validation is bad or not finite where training is good."""
    held_out = records(run, "val_loss")
    if lasting_nonfinite(records(run, "loss")):
        return
    bad = lasting_nonfinite(held_out)
    if bad and finite(records(run, "loss")):
        text = say(
            "验证损失在{at}是 {value}，训练损失正常",
            "The validation loss is {value} at {at}, the training loss is normal",
            at=bad,
            value=bad.value,
        )
        yield from weigh("validation_not_finite", text, bad)
        return
    how, points, train = gap(run), finite(held_out), values_of(finite(records(run, "loss")))
    if how == "apart":
        text = say(
            "训练已几乎全对（损失 {train}），验证损失却是 {held}",
            "Training is nearly all right (loss {train}), the validation loss is {held}",
            train=train[-1],
            held=points[-1].value,
        )
        yield from weigh("validation_apart", text, points[-1])
        how = gap(run, apart=False)
    if how == "never":
        text = say(
            "训练损失 {train}，验证损失 {held}，从没低于开始的 {first}",
            "The training loss is {train}, the validation loss {held}, and never was it below its first, {first}",
            train=end_level(train),
            held=points[-1].value,
            first=points[0].value,
        )
        yield from weigh("validation_never_learns", text, points[0], points[-1])
        rises = share_ascending(values_of(points)) > 0.7
        if points[0].value > 1.3 * train[0]:
            text = say(
                "第一个验证损失 {held} 就高于训练开始的 {first}",
                "The first validation loss, {held}, is above the first of training, {first}",
                held=points[0].value,
                first=train[0],
            )
            yield from weigh("validation_starts_high", text, points[0])
        if _swings(values_of(points)):
            text = say(
                "验证损失大起大落，训练损失却一路下降",
                "The validation loss goes far up and down while the training loss falls",
            )
            yield from weigh("validation_swings", text, points[0], points[-1])
        shares = [each / 100 if each > 1 else each for each in values_of(finite(records(run, "val_accuracy")))]
        if shares and shares[-1] >= 0.6 and shares[-1] > max(shares) - 0.1:
            text = say("验证准确率仍有 {share}", "The accuracy of validation is {share} all the same", share=shares[-1])
            yield from weigh("validation_partly_right", text, points[-1])
        memorised = "learned_by_heart" if train[-1] < 0.02 * train[0] and rises else "learned_slowly"
        text = say(
            "训练损失从 {first} 到 {last}",
            "The training loss goes from {first} to {last}",
            first=train[0],
            last=train[-1],
        )
        if memorised == "learned_by_heart" or end_level(train) > 0.3 * train[0]:
            yield from weigh(memorised, text, points[-1])
    elif how == "turned":
        lowest = min(points, key=lambda each: each.value)
        text = say(
            "验证损失在{at}最低（{best}），之后升到 {held}，训练损失还在降",
            "The validation loss is lowest at {at} ({best}) and rises to {held} while the training loss falls",
            at=lowest,
            best=lowest.value,
            held=points[-1].value,
        )
        yield from weigh("validation_turns", text, lowest, points[-1])


def _swings(values: Sequence[float]) -> bool:
    """Whether a loss goes up and down by half and more, again and again."""
    turns = [math.log(after / before) for before, after in pairwise(values) if before > 0 and after > 0]
    large = [turn for turn in turns if abs(turn) > math.log(_SWING)]
    return sum(before * after < 0 for before, after in pairwise(large)) >= 3


RULES: tuple[Rule, ...] = (
    nonfinite_loss, comes_and_goes, nonfinite_gradient, first_gradient, geometric_growth, divergence_of_loss, thrown_up,
    gradient_adds_up, gradient_against_loss,
    schedule, restart, learning_rate, spikes, jump, first_loss,
    at_chance, flat, gradient_while_flat, zero_loss, tiny_loss, accuracy,
    loss_scale, number_format, architecture, validation, messages,
)  # fmt: skip
