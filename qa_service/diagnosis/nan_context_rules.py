"""Rules on the surroundings of a nan loss: its parts, gaps between records, accuracy, format, epochs, names."""

import math
import re
from collections.abc import Iterator
from statistics import median

from qa_service.diagnosis.curves import finite_records, format_text, records, shares_of, uses_float16
from qa_service.diagnosis.evidence import DiagnosticRule, feature_findings
from qa_service.diagnosis.loss_terms import loss_terms
from qa_service.diagnosis.nan_rules import Onset, onset
from qa_service.diagnosis.nonfinite_harm import loss_keys
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_LOGARITHM = re.compile(r"likelihood|nll|bce|log_?prob|log_?norm|entropy_loss", re.IGNORECASE)
_MIN_EPOCH_STEPS = 100
"""Steps that an epoch of a real data set has at least."""
_RECENT = 6
"""The number of accuracies before the nan whose median counts as the usual one."""
_MIN_GAP = 20
"""Steps within which a run whose step is too large goes from a usual loss to nan."""


def nan_in_parts(run: TrainingRun) -> Iterator[Finding]:
    """Findings on whether, at the first nan, only some of the parts of the loss are not finite, or all of them."""
    first, parts = onset(run, *loss_keys(run)), loss_terms(run)
    if first is None or first.index == 0 or not parts:
        return
    at_once = {key: point for key, points in parts.items() if (point := _record_at(points, first.bad)) is not None}
    bad = sorted(key for key, point in at_once.items() if not math.isfinite(point.value))
    if not bad or len(at_once) < 2:
        return
    if len(bad) < len(at_once):
        names = ", ".join(bad[:3])
        text = format_text(
            "{at}只有 {names} 不是有限数，其余部分正常：问题在这一项的算式或标签里",
            "At {at} only {names} is not finite, the other parts are: see its formula and its labels",
            at=first.bad,
            names=names,
        )
        yield from feature_findings("nan_in_one_part", text, first.bad)
    else:
        text = format_text(
            "{at}损失的各部分同时变成 nan：坏的是它们共有的权重或输入",
            "At {at} all parts of the loss are nan at once: what they share is spoilt, weights or inputs",
            at=first.bad,
        )
        yield from feature_findings("nan_in_all_parts", text, first.bad)


def _record_at(points: tuple[Record, ...], other: Record) -> Record | None:
    """The record of a series on the line of `other`, or at its step if that has no line; None if there is none."""
    if other.line is not None:
        return next((point for point in points if point.line == other.line), None)
    return next((point for point in points if point.step == other.step), None)


def sparse_records(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a nan without a rise before it, where the records are too far apart, or at unknown distances, to show
    a rise.
    """
    first = onset(run, *loss_keys(run))
    if first is None or len(first.before) < 3 or first.rise >= 2:
        return
    steps = _steps_before(run, first)
    if steps is None:
        text = format_text(
            "两条记录隔了多少步，日志里没有写：中间可能发散过",
            "How many steps lie between two records is not said: the loss may have grown in between",
        )
        yield from feature_findings("records_of_unknown_distance", text, first.before[-1], first.bad)
        return
    if steps < _MIN_GAP:
        return
    text = format_text(
        "两条记录相隔 {steps} 步：中间即使发散过，日志里也看不到",
        "The records are {steps} steps apart: a growth of the loss in between would not be seen",
        steps=str(steps),
    )
    yield from feature_findings("records_far_apart", text, first.before[-1], first.bad)


def _steps_before(run: TrainingRun, first: Onset) -> int | None:
    """Steps between the last finite record and the first bad one; None where steps are epochs, or unknown."""
    last = first.before[-1]
    if run.settings.get("step_unit") == "epoch" or last.step is None or first.bad.step is None:
        return None
    return first.bad.step - last.step


def accuracy_at_nan(run: TrainingRun) -> Iterator[Finding]:
    """Findings on whether the accuracy is lost at the step of the first nan loss, which tells spoilt weights from a bad
    loss.

    If the previous update made the weights nan, this step predicts at random; if only the loss is not finite, because
    of its formula or the labels, the accuracy of this step is the usual one.
    """
    first = onset(run, *loss_keys(run))
    if first is None or first.key != "loss" or not first.before:
        return
    last, bad = first.before[-1], first.bad
    if last.step is None or bad.step is None or bad.step - last.step > 1:
        return
    shares = _accuracy_per_step(run)
    before = [share for step, share in shares if step < bad.step][-_RECENT:]
    after = [share for step, share in shares if step > bad.step]
    now = next((share for step, share in shares if step == bad.step), None)
    if now is None or len(before) < 3 or len(after) < 3:
        return
    usual, lost = median(before), median(after)
    if usual < max(1.4 * lost, lost + 0.1):
        return  # nothing was recognised before either
    feature = "accuracy_sound_at_nan" if now > lost + 0.6 * (usual - lost) else ""
    feature = "accuracy_lost_at_nan" if now < lost + 0.3 * (usual - lost) else feature
    words: dict[str, float | Record] = {"at": bad, "value": bad.value, "usual": round(usual, 3), "share": round(now, 3)}
    if feature == "accuracy_sound_at_nan":
        text = format_text(
            "{at}损失是 {value}，这一步的准确率 {share} 却正常：权重还是好的，坏在损失或标签",
            "At {at} the loss is {value}, yet the accuracy of this step, {share}, is usual: the weights are sound",
            **words,
        )
        yield from feature_findings(feature, text, last, bad)
    elif feature:
        text = format_text(
            "{at}损失是 {value}，准确率同时从 {usual} 掉到 {share}：上一次更新已把权重带坏",
            "At {at} the loss is {value} and the accuracy falls from {usual} to {share}: the weights are spoilt",
            **words,
        )
        yield from feature_findings(feature, text, last, bad)


def _accuracy_per_step(run: TrainingRun) -> list[tuple[int, float]]:
    """(step, accuracy at that step) of each record; running means of an epoch are turned back into steps by their
    differences.
    """
    points = [point for point in finite_records(records(run, "accuracy")) if point.step is not None]
    shares = shares_of(points)
    steps = [point.step for point in points if point.step is not None]
    if not run.settings.get("running_mean"):
        return list(zip(steps, shares, strict=True))
    singles: list[tuple[int, float]] = []
    begins = sorted(event.line or 0 for event in run.events if event.kind == "epoch")
    begin, mean_before, line = 0, 0.0, -1
    for point, step, mean in zip(points, steps, shares, strict=True):
        if any(line < each <= (point.line or 0) for each in begins) or not singles:
            begin, mean_before = step - 1, 0.0
        count = step - begin
        singles.append((step, min(1.0, max(0.0, count * mean - (count - 1) * mean_before))))
        mean_before, line = mean, point.line or 0
    return singles


def float16_nan_at_start(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a run in float16 whose first loss is not finite: no update has been made, so the forward pass
    overflows.
    """
    first = onset(run, *loss_keys(run))
    if first is not None and first.index == 0 and run.from_start and uses_float16(run):
        text = format_text(
            "用 float16，还没更新过就是 {value}", "In float16, and {value} before any update", value=first.bad.value
        )
        yield from feature_findings("half_and_nan_at_first", text, first.bad)


def data_seen_before(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a first nan after two or more whole epochs without one: the same samples and labels did no harm
    before.
    """
    first = onset(run, *loss_keys(run))
    if first is None or first.bad.line is None:
        return
    epochs = {event.name for event in run.events if event.kind == "epoch" and (event.line or 0) <= first.bad.line}
    numbers = [int(name) for name in epochs if name.isdigit()]
    whole = max(len(epochs), max(numbers, default=0)) - 1
    counts_steps = run.settings.get("step_unit") != "epoch" and len({point.step for point in first.before}) > 1
    if counts_steps and (first.bad.step or math.inf) < _MIN_EPOCH_STEPS * whole:
        return  # "epochs" of a few steps see no data set
    if whole >= 2:
        text = format_text(
            "之前已完整跑过 {count} 个 epoch 都没有 nan：数据里若有坏样本，早该出现",
            "{count} whole epochs went by without a nan: a bad sample would have shown before",
            count=str(whole),
        )
        yield from feature_findings("data_seen_before", text, first.bad)


def log_likelihood_names(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a nan loss in a run that logs a likelihood or an entropy, by its name: the loss takes a logarithm."""
    first = onset(run, *loss_keys(run))
    name = next((key for key in run.series if _LOGARITHM.search(key)), "")
    if first is not None and first.index > 0 and name:
        text = format_text(
            "日志里有 {name}：损失里要取对数", "The log prints {name}: the loss takes a logarithm", name=name
        )
        yield from feature_findings("logarithm_in_names", text)


RULES: tuple[DiagnosticRule, ...] = (
    nan_in_parts, sparse_records, accuracy_at_nan, float16_nan_at_start, data_seen_before, log_likelihood_names,
)  # fmt: skip
