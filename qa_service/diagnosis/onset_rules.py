"""Rules on the clean steps and the gradient before the first nan, and the validation loss after it.

Also on the validation, the plateau and the gradient of a loss that does not fall.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from qa_service.diagnosis.curves import (
    finite_records,
    format_text,
    noise_deviation,
    records,
    rolling_medians,
    shares_of,
    values_of,
)
from qa_service.diagnosis.evidence import DiagnosticRule, feature_findings
from qa_service.diagnosis.nan_rules import Onset, onset
from qa_service.diagnosis.nonfinite_harm import hidden_nan, loss_keys
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_EARLY, _LATE = 12, 25
"""Clean steps before the first nan: at most so many are few, at least so many are many."""
_SOUND = 4.0
"""A gradient norm up to this many times the usual one is sound."""
_LITTLE = 0.03
"""A relative change of the validation loss below this counts as none."""


def finite_steps_before_nan(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the number of finite steps before the first nan."""
    first = onset(run, *loss_keys(run), "grad_norm")
    if first is None or not run.from_start or run.settings.get("step_unit") == "epoch":
        return
    step = first.bad.step if first.bad.step is not None else first.index
    if step <= _EARLY:
        text = format_text(
            "头几步里就出现 {value}（{at}）",
            "{value} comes within the first steps ({at})",
            value=first.bad.value,
            at=first.bad,
        )
        yield from feature_findings("nan_early", text, first.bad)
    elif step >= _LATE and len(first.before) >= 4:
        text = format_text(
            "前 {count} 步都正常，{at}才出现 {value}",
            "The first {count} steps are sound; {value} comes at {at}",
            count=str(step),
            value=first.bad.value,
            at=first.bad,
        )
        yield from feature_findings("nan_late", text, first.bad)


def gradient_before_nan(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a sound gradient norm in the last record before a non-finite loss: no large update has spoilt the
    weights.
    """
    first, norms = onset(run, *loss_keys(run)), records(run, "grad_norm")
    if first is None or not first.before:
        return
    last = first.before[-1]
    norm_then = next((norm for norm in norms if _same_record(norm, last)), None)
    usual = median(values_of(finite_records(norms[:-1]))) if len(finite_records(norms)) > 3 else math.inf
    if norm_then is None or not math.isfinite(norm_then.value) or norm_then.value > _SOUND * usual:
        return
    text = format_text(
        "{at}的梯度范数 {norm} 正常，下一条损失就是 {value}",
        "At {at} the gradient norm, {norm}, is sound, and the next loss is {value}",
        at=norm_then,
        norm=norm_then.value,
        value=first.bad.value,
    )
    adjacent = last.step is not None and first.bad.step is not None and first.bad.step - last.step <= 1
    yield from feature_findings(
        "gradient_sound_before_nan" if adjacent else "gradient_sound_in_record_before", text, norm_then
    )


def _same_record(one: Record, other: Record) -> bool:
    if one.step is not None and other.step is not None:
        return one.step == other.step
    return one.line is not None and one.line == other.line


def weights_after_nan(run: TrainingRun) -> Iterator[Finding]:
    """Findings on whether the validation loss after the first nan is finite, which tells whether the weights are."""
    first = onset(run, *loss_keys(run), "grad_norm") or _first_bad(run)
    if first is None:
        return
    after = [each for each in records(run, "val_loss") if _is_after(each, first.bad)]
    if not after:
        return
    if all(math.isfinite(each.value) for each in after):
        text = format_text(
            "之后的验证损失仍是有限数（{value}）：权重没有坏",
            "The loss of validation is finite afterwards ({value}): the weights are sound",
            value=after[-1].value,
        )
        yield from feature_findings("weights_survive", text, after[-1])
    elif not math.isfinite(after[-1].value):
        text = format_text(
            "之后的验证损失也是 {value}：权重已经坏了",
            "The loss of validation is {value} afterwards: the weights are spoilt",
            value=after[-1].value,
        )
        yield from feature_findings("weights_spoilt", text, after[-1])


def _first_bad(run: TrainingRun) -> Onset | None:
    """The first loss that is not finite, even if the run recovers from it."""
    points = records(run, "loss")
    index = next((index for index, point in enumerate(points) if not math.isfinite(point.value)), None)
    return None if index is None else Onset("loss", points[index], index, finite_records(points[:index]))


def _is_after(one: Record, other: Record) -> bool:
    if one.step is not None and other.step is not None:
        return one.step > other.step
    return one.line is not None and other.line is not None and one.line > other.line


def hidden_onset(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a log that prints nan as 0: whether it did at once, or only after the losses had become small."""
    hidden, points = hidden_nan(run), records(run, "loss")
    if hidden is None or not run.from_start:
        return
    before = [each for each in points if each.value != 0 and not _is_after(each, hidden)]
    if len(before) <= 2:
        yield from feature_findings(
            "hidden_from_start",
            format_text("从头几条记录起损失就印成 0", "The loss is printed as 0 from the first records on"),
            hidden,
        )
    elif before[-1].value < 0.3 * before[0].value:
        text = format_text(
            "损失先学到 {low}，然后才印成 0",
            "The loss had come down to {low} before it is printed as 0",
            low=before[-1].value,
        )
        yield from feature_findings("hidden_after_learning", text, before[-1], hidden)


def validation_while_flat(run: TrainingRun) -> Iterator[Finding]:
    """Findings on whether the validation loss is constant, hardly moves, or never falls below its first value."""
    held_out = finite_records(records(run, "val_loss"))
    values = values_of(held_out)
    if len(values) < 4 or not run.from_start or values[0] <= 0 or len(values) < len(records(run, "val_loss")):
        return
    change, first, last = (max(values) - min(values)) / values[0], values[0], values[-1]
    if change == 0:
        feature = "validation_constant"
        text = format_text(
            "验证损失每次都是 {value}，一位不变：权重没有动",
            "The loss of validation is {value} every time, to all digits: no weight moves",
            value=last,
        )
    elif change < _LITTLE:
        feature = "validation_hardly_moves"
        text = format_text(
            "验证损失只从 {first} 到 {last}",
            "The loss of validation goes from {first} to {last} only",
            first=first,
            last=last,
        )
    elif min(values) > 0.97 * first:
        feature = "validation_rises"
        text = format_text(
            "验证损失从没低于第一次的 {first}，现在 {last}",
            "The loss of validation was never below its first, {first}, and is {last}",
            first=first,
            last=last,
        )
    else:
        return
    yield from feature_findings(feature, text, held_out[0], held_out[-1])


def validation_accuracy_drop(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a validation accuracy that was above 0.6 and ends more than 0.2 below its best."""
    points = finite_records(records(run, "val_accuracy"))
    shares = shares_of(points)
    if len(shares) >= 3 and max(shares) > 0.6 and shares[-1] < max(shares) - 0.2:
        best = points[shares.index(max(shares))]
        text = format_text(
            "验证准确率从 {best}（{at}）掉到 {last}",
            "The accuracy of validation falls from {best} ({at}) to {last}",
            best=best.value,
            at=best,
            last=points[-1].value,
        )
        yield from feature_findings("accuracy_lost", text, best, points[-1])


def accuracy_gap(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a low validation accuracy: with a training accuracy or loss that is good, or throughout."""
    train, held_out = (
        shares_of(finite_records(records(run, "accuracy"))),
        shares_of(finite_records(records(run, "val_accuracy"))),
    )
    losses = values_of(finite_records(records(run, "loss")))
    if not held_out or len(losses) < 5 or losses[0] <= 0 or hidden_nan(run):
        return
    low = held_out[-1] < 0.35
    learns = median(losses[-5:]) < 0.5 * losses[0]
    right = bool(train) and median(train[-5:]) > 0.8
    if low and (right or learns):
        text = format_text(
            "训练在进步，验证准确率却只有 {share}",
            "Training gets on, the accuracy of validation is only {share}",
            share=held_out[-1],
        )
        yield from feature_findings("right_only_in_training", text)
    elif low and not learns:
        text = format_text(
            "验证准确率只有 {share}，训练损失也没有降多少",
            "The accuracy of validation is only {share}, and the training loss has not fallen much",
            share=held_out[-1],
        )
        yield from feature_findings("accuracy_low_throughout", text)


def plateau_level(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the level at which the loss settles, relative to its first value."""
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    if len(values) < 15 or not run.from_start or len(points) < len(records(run, "loss")) or values[0] <= 0:
        return
    early, late = median(values[1:4]), median(values[-len(values) // 3 :])
    if early > 3 * values[0] > 0:
        text = format_text(
            "头几步就从 {first} 冲到 {high}",
            "Within the first steps it goes from {first} up to {high}",
            first=values[0],
            high=early,
        )
        yield from feature_findings(
            "thrown_at_once", text, points[0], sorted(points[1:4], key=lambda point: point.value)[1]
        )
    spread = noise_deviation(values[len(values) // 2 :]) / late if late > 0 else 0.0
    if late > 1.15 * values[0] and spread > 0.1:
        text = format_text(
            "后来在 {level} 附近大幅跳动，高于开始的 {first}",
            "Later it jumps about {level}, above where it began, {first}",
            level=late,
            first=values[0],
        )
        yield from feature_findings("jumps_above_start", text, points[0], points[-1])
    elif 0.9 * values[0] < late < 1.1 * values[0] and spread < 0.02 and max(rolling_medians(values)) < 1.1 * values[0]:
        text = format_text(
            "从头到尾平静地停在 {level}", "It stays quietly at {level} from the first record to the last", level=late
        )
        yield from feature_findings("quiet_at_start_level", text, points[0], points[-1])


def gradient_trend(run: TrainingRun) -> Iterator[Finding]:
    """Findings on whether the gradient norm shrinks to a fifth or stays the same, in a run whose loss does not fall."""
    norms = finite_records(records(run, "grad_norm"))
    values, losses = values_of(norms), values_of(finite_records(records(run, "loss")))
    if len(values) < 10 or len(losses) < 10 or not run.from_start or median(losses[-5:]) < 0.7 * losses[0]:
        return
    third = len(values) // 3
    first, last = median(values[:third]), median(values[-third:])
    if 0 < last < 0.2 * values[0]:
        text = format_text(
            "梯度范数从 {first} 缩到 {last}，损失却没有降多少",
            "The gradient norm shrinks from {first} to {last}, yet the loss has hardly fallen",
            first=values[0],
            last=last,
        )
        yield from feature_findings("gradient_shrinks", text, norms[0], norms[-1])
    elif first > 0 and 0.5 < last / first < 2:
        text = format_text("梯度范数一直在 {level} 左右", "The gradient norm stays about {level}", level=last)
        yield from feature_findings("gradient_steady", text, norms[0], norms[-1])


def _unscaled(points: Sequence[Record]) -> bool:
    return len(points) >= 3 and all(point.value == 1 for point in points)


def scale_of_one(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a loss scale that is 1 throughout: no scaling, so float32 or bfloat16."""
    points = records(run, "loss_scale")
    if _unscaled(points):
        yield from feature_findings(
            "scale_of_one",
            format_text("损失缩放系数一直是 1：没有缩放", "The loss scale is 1 throughout: nothing is scaled"),
            points[0],
        )


RULES: tuple[DiagnosticRule, ...] = (
    finite_steps_before_nan, gradient_before_nan, weights_after_nan, hidden_onset, validation_while_flat,
    validation_accuracy_drop, accuracy_gap, plateau_level, gradient_trend, scale_of_one,
)  # fmt: skip
