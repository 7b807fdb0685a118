"""Rules on where a loss or gradient norm stops being finite, and on what came before."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from qa_service.diagnosis.curves import (
    climbing_tail,
    finite_records,
    first_nonfinite,
    format_text,
    loss_is_objective,
    records,
    rising_tail,
    rolling_medians,
    values_of,
)
from qa_service.diagnosis.divergence import divergence_kind
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.nonfinite_harm import hidden_nan, lasting_nonfinite, loss_keys
from qa_service.diagnosis.schedule import record_position
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_ROSE, _STEADY = 2.0, 1.6
_CONVERGED = 0.1  # of the first loss: whatever happens below is the noise of a run that has learned
_FIRST_STEPS = 2


@dataclass(frozen=True, slots=True)
class Onset:
    """The first non-finite record of a series, with the records before it."""

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
        usual = max(min(median(values[-8:-1]), *rolling_medians(values[-8:])), _CONVERGED * values[0])
        return values[-1] / usual if usual > 0 else 1.0


def onset(run: TrainingRun, *keys: str) -> Onset | None:
    """The first of these series that stops being finite for good; None if none does."""
    found: list[Onset] = []
    for key in keys:
        points = records(run, key)
        bad = lasting_nonfinite(points)
        index = first_nonfinite(points)
        if bad is not None and index is not None:
            found.append(Onset(key, bad, index, finite_records(points[:index])))
    return min(found, key=lambda each: record_position(each.bad), default=None)


def nonfinite_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the first loss that is not finite, and on what came before it."""
    first = onset(run, *loss_keys(run))
    if first is None:
        return
    bad = first.bad
    if first.index == 0:
        if run.from_start or (bad.step is not None and bad.step <= _FIRST_STEPS):
            text = format_text(
                "{key} 从第一条记录（{at}）起就是 {value}",
                "{key} is {value} in the first record ({at})",
                key=first.key,
                at=bad,
                value=bad.value,
            )
            yield from feature_findings("nan_at_first_record", text, bad)
            if math.isinf(bad.value):
                yield from feature_findings(
                    "loss_inf_first", format_text("而且先是 inf，不是 nan", "It is inf first, not nan"), bad
                )
        return
    last = first.before[-1] if first.before else None
    if last is None:
        return
    if _one_update_later(run, first):
        text = format_text(
            "第一次更新之后，{key} 从 {last} 变成 {value}（{at}）",
            "After the first update, {key} goes from {last} to {value} ({at})",
            key=first.key,
            last=last.value,
            value=bad.value,
            at=bad,
        )
        yield from feature_findings("nan_after_first_update", text, last, bad)
    yield from _before_nan(first, last)
    if len(first.before) < 3 and first.rise < _STEADY and run.from_start:
        text = format_text(
            "{key} 只在开头正常（{high}），{at}已是 {value}",
            "{key} is normal only at the beginning ({high}) and {value} at {at}",
            key=first.key,
            high=last.value,
            at=bad,
            value=bad.value,
        )
        yield from feature_findings("nan_soon", text, last, bad)
    if math.isinf(bad.value) and first.rise < _STEADY:
        text = format_text(
            "{key} 先变成 inf，不是 nan（{at}）", "{key} is inf first, not nan ({at})", key=first.key, at=bad
        )
        yield from feature_findings("loss_inf_first", text, bad)


def _one_update_later(run: TrainingRun, first: Onset) -> bool:
    one, two = first.before[-1].step, first.bad.step
    adjacent = one is not None and two is not None and two - one <= 1 and one <= _FIRST_STEPS
    return run.from_start and first.index == 1 and (adjacent or one is None)


def _before_nan(first: Onset, last: Record) -> Iterator[Finding]:
    tail = climbing_tail(first.before) or rising_tail(first.before)
    least = max(tail[0].value, _CONVERGED * first.before[0].value) if tail else 0.0
    grew = tail[-1].value / least if len(tail) >= 2 and least > 0 else 1.0
    if max(first.rise, grew) >= _ROSE:
        begin = tail[0] if grew >= first.rise and len(tail) >= 2 else first.before[max(0, len(first.before) - 4)]
        text = format_text(
            "{key} 先从 {low}（{begin}）升到 {high}（{at}），然后才是 {value}",
            "{key} first rises from {low} ({begin}) to {high} ({at}), then it is {value}",
            key=first.key,
            low=begin.value,
            begin=begin,
            high=last.value,
            at=last,
            value=first.bad.value,
        )
        yield from feature_findings("rose_before_nan", text, begin, last, first.bad)
    elif len(first.before) >= 3 and first.rise < _STEADY:
        if 0 < last.value < 0.3 * first.before[0].value:
            small = format_text("那时损失已经很小（{low}）", "The loss was small by then ({low})", low=last.value)
            yield from feature_findings("nan_once_confident", small, last)
        text = format_text(
            "{key} 到{at}还正常（{high}），下一条就是 {value}",
            "{key} is normal up to {at} ({high}), and {value} in the next record",
            key=first.key,
            at=last,
            high=last.value,
            value=first.bad.value,
        )
        yield from feature_findings("sudden_nan", text, last, first.bad)


def intermittent_nan_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings on single nan losses with finite ones after them: the weights are finite."""
    losses = records(run, "loss")
    index = first_nonfinite(losses)
    if index is None or hidden_nan(run):
        return
    after = [each for each in losses[index:] if math.isfinite(each.value)]
    bad = [each for each in losses if not math.isfinite(each.value)]
    if len(after) >= 3 and len(bad) >= 2 and len({each.value for each in after}) >= 3:
        text = format_text(
            "损失在{at}是 {value}，后来又正常：权重没有被带坏",
            "The loss is {value} at {at} and normal again later: the weights are not harmed",
            at=bad[0],
            value=bad[0].value,
        )
        yield from feature_findings("nan_comes_and_goes", text, bad[0], after[0])


def nonfinite_gradient(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a gradient that is not finite while the loss still is, and on one that grew before a nan or a
    divergence.
    """
    norms = records(run, "grad_norm")
    first, loss = onset(run, "grad_norm"), onset(run, *loss_keys(run))
    if first is not None and hidden_nan(run) is None and not _loss_is_bad_at(run, first.bad):
        feature = "gradient_nan_first" if math.isnan(first.bad.value) else "gradient_inf_first"
        text = format_text(
            "{at}的梯度范数是 {value}，损失还是有限数",
            "At {at} the gradient norm is {value} while the loss is finite",
            at=first.bad,
            value=first.bad.value,
        )
        yield from feature_findings(feature, text, first.bad)
    end = first or loss
    before = [each for each in finite_records(norms) if end is None or record_position(each) < record_position(end.bad)]
    if len(before) >= 3 and (end or diverges(run)):
        yield from _gradient_growth(before)


def _loss_is_bad_at(run: TrainingRun, point: Record) -> bool:
    return any(
        not math.isfinite(each.value) and record_position(each) <= record_position(point)
        for key in loss_keys(run)
        for each in records(run, key)
    )


def _gradient_growth(before: Sequence[Record]) -> Iterator[Finding]:
    values = values_of(before)
    usual = median(values[: max(2, len(values) // 2)])
    tail = rising_tail(before)
    if usual <= 0 or values[-1] < 5 * usual:
        return
    text = format_text(
        "梯度范数从平时的 {low} 升到 {high}（{at}）",
        "The gradient norm rises from its usual {low} to {high} ({at})",
        low=usual,
        high=values[-1],
        at=before[-1],
    )
    if len(tail) >= 3:
        yield from feature_findings("gradient_rose", text, tail[0], before[-1])
    elif values[-1] > 20 * usual:
        yield from feature_findings("gradient_explodes_at_once", text, before[-1])


def diverges(run: TrainingRun) -> bool:
    """Whether a loss that training should lower diverges; False with fewer than five finite losses."""
    values = values_of(finite_records(records(run, "loss")))
    return len(values) >= 5 and loss_is_objective(run) and divergence_kind(values) is not None
