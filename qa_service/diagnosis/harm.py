"""The harm gate: whether anything goes wrong in a run at all, before any cause is thought of.

A healthy run gives nothing. Each test looks at what lasts: one bad step, a spike that recovers, a loss scale that finds
its place and an average that holds an old nan do no harm.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from qa_service.diagnosis.curves import (
    end_level,
    equal_tail,
    finite,
    first_nonfinite,
    is_objective,
    lines_of,
    noise,
    records,
    say,
    share_ascending,
    shares_of,
    smooth,
    start_level,
    step_span,
    values_of,
    warms_up,
)
from qa_service.diagnosis.divergence import divergence, runs_away
from qa_service.diagnosis.layer_harm import measured_harms
from qa_service.diagnosis.schedule import lost_at_rate_jump
from qa_service.diagnosis.standstill import (
    classes_at_chance,
    gradient_always_zero,
    is_flat,
    steps_of_clamp,
    stuck_at_clamp,
    stuck_exactly,
    validation_at_guessing,
    validation_constant,
    worse_than_guessing,
)
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import Record, RunEvent, TrainingRun

RECOVERED_RECORDS = 3
"""Finite records at the end from which on a nan before them has been survived."""
_TOLERATED_SHARE = 0.05  # of records that may be nan or inf if the run survives them
_MIN_STEPS = 50
_APART = 4
"""Records from one nan to the next from which on they are two and not one."""
_MIN_RECORDS = 5
_UNUSUAL = 1e-3
"""First losses below it are weighed by a factor."""
_LEAP = 1000
_ACCURACY_LOST = 0.25
_SCALE_FLOOR = 1.0
_SCALE_LOW = 256.0
_FATAL = {
    "anomaly", "scale_minimum", "scale_minimum_fairseq", "scale_zero", "jax_nan", "detectron_nan", "histogram", "boxes",
    "sampling", "distribution", "total_norm", "bce_range", "label_range", "batch_of_one", "sklearn_nan",
    "input_nonfinite", "megatron_nan", "out_of_memory", "shapes", "device_assert",
}  # fmt: skip
_WARNINGS = {"numpy_overflow", "numpy_zero", "numpy_invalid"}
_CALLED_OFF = re.compile(r"KeyboardInterrupt|SystemExit|BrokenPipe|GeneratorExit")


def find_harms(run: TrainingRun) -> tuple[Harm, ...]:
    """What goes wrong, the first first; empty for a healthy run."""
    harms = [*_nonfinite(run), *_diverging(run), *_no_learning(run), *_skipping(run), *_evaluation(run)]
    if not harms:
        harms = [*measured_harms(run)]
    return tuple(harms) + tuple(_stopped(run, known=bool(harms)))


# H1


def lasting_nonfinite(points: Sequence[Record]) -> Record | None:
    """The first nan or inf of a series that does not recover from it; None if it does, or has none."""
    index = first_nonfinite(points)
    if index is None:
        return None
    bad = sum(1 for point in points if not math.isfinite(point.value))
    tail = points[-RECOVERED_RECORDS:]
    survives = len(tail) == RECOVERED_RECORDS and all(math.isfinite(point.value) for point in tail)
    if survives and bad <= max(1.0, _TOLERATED_SHARE * len(points)):
        return None
    return points[index]


def _nonfinite(run: TrainingRun) -> Iterator[Harm]:
    if run.fault is not None:
        where = f" ({run.fault.operation})" if run.fault.operation else ""
        yield Harm(
            id="nonfinite",
            step=run.fault.step,
            text=say(
                "一步计算里出现了 {value}{where}", "A step made {value}{where}", value=run.fault.value, where=where
            ),
        )
    for key in loss_keys(run):
        if key != "loss" and _nan_by_nature(run, key):
            continue
        if bad := lasting_nonfinite(records(run, key)):
            yield Harm(
                id="nonfinite",
                lines=lines_of(bad),
                step=bad.step,
                text=say("{key} 从{at}起是 {value}", "{key} is {value} from {at} on", key=key, at=bad, value=bad.value),
            )
            return
    yield from _recurring(run)
    yield from _gradients(run)
    if hidden := hidden_nan(run):
        yield Harm(
            id="nonfinite",
            lines=lines_of(hidden),
            step=hidden.step,
            text=say(
                "{at}的损失印成 0，梯度范数却不是有限数",
                "At {at} the loss is printed as 0 beside a gradient norm that is not finite",
                at=hidden,
            ),
        )
    yield from _weights(run)


def _nan_by_nature(run: TrainingRun, key: str) -> bool:
    """Whether a component is nan while the loss itself goes on, finite: of a batch without samples of its kind."""
    bad = lasting_nonfinite(records(run, key))
    after = [point for point in records(run, "loss") if bad is not None and _place(point) >= _place(bad)]
    return len(after) >= RECOVERED_RECORDS and all(math.isfinite(point.value) for point in after)


def _recurring(run: TrainingRun) -> Iterator[Harm]:
    """Single losses that are nan again and again, where no loss scale looks for its place and no update is skipped."""
    points = records(run, "loss")
    bad = [index for index, point in enumerate(points) if math.isnan(point.value)]
    apart = [after for before, after in pairwise([-_APART, *bad]) if after - before >= _APART]
    scaled = any(point.value != 1 for point in records(run, "loss_scale")) or skipped_steps(run)
    if len(apart) >= 2 and not scaled and hidden_nan(run) is None:
        yield Harm(
            id="nonfinite",
            lines=lines_of(points[apart[0]], points[apart[-1]]),
            step=points[apart[0]].step,
            text=say(
                "损失有 {count} 处是 nan，最早在{at}，每次之后又正常",
                "The loss is nan at {count} places, first at {at}, and normal again after each",
                count=str(len(apart)),
                at=points[apart[0]],
            ),
        )


def loss_keys(run: TrainingRun) -> list[str]:
    """The training loss, and its components if they have names of their own."""
    apart = ("loss_scale", "scale")
    return [key for key in run.series if "loss" in key and not key.startswith(("val_", "eval_")) and key not in apart]


def hidden_nan(run: TrainingRun) -> Record | None:
    """The first record whose loss is printed as 0 beside a nan or inf gradient norm."""
    losses = {(point.step, point.line): point for point in records(run, "loss")}
    return next(
        (
            loss
            for norm in records(run, "grad_norm")
            if not math.isfinite(norm.value)
            and (loss := losses.get((norm.step, norm.line))) is not None
            and loss.value == 0
        ),
        None,
    )


def _gradients(run: TrainingRun) -> Iterator[Harm]:
    """A gradient norm that stays nan does harm unless the loss goes on moving, or the updates are skipped."""
    norms, losses = records(run, "grad_norm"), finite(records(run, "loss"))
    bad = lasting_nonfinite(norms)
    if bad is None or hidden_nan(run) or (math.isfinite(norms[-1].value) and losses == list(records(run, "loss"))):
        return
    after = (
        losses[-2:]
        if bad.step is None and bad.line is None
        else [
            loss
            for loss in losses
            if (bad.line is not None and loss.line is not None and loss.line >= bad.line)
            or (bad.line is None and bad.step is not None and loss.step is not None and loss.step >= bad.step)
        ]
    )
    goes_on = len(after) >= 3 and len({loss.value for loss in after}) >= 3
    few = len(norms) > 5 and sum(1 for norm in norms if not math.isfinite(norm.value)) <= 1
    if not goes_on and not few:
        yield Harm(
            id="nonfinite",
            lines=lines_of(bad),
            step=bad.step,
            text=say(
                "梯度范数从{at}起是 {value}", "The gradient norm is {value} from {at} on", at=bad, value=bad.value
            ),
        )


def _weights(run: TrainingRun) -> Iterator[Harm]:
    for layer in run.layers:
        if layer.kind == "parameter" and any(
            name.startswith("weight") and not math.isfinite(value) for name, value in layer.values.items()
        ):
            yield Harm(
                id="nonfinite",
                step=layer.step,
                text=say(
                    "第 {step} 步 {layer} 的权重不再是有限数",
                    "At step {step} the weights of {layer} are not finite",
                    step=str(layer.step),
                    layer=layer.layer,
                ),
            )
            return


# H2


def _diverging(run: TrainingRun) -> Iterator[Harm]:
    points = finite(records(run, "loss"))
    values = values_of(points)
    if len(values) < 5:
        return
    how = divergence(values) if is_objective(run) else "rising" if runs_away(values) else None
    if how is None and is_objective(run) and lost_at_rate_jump(run):
        how = "lost"
    if how is None or _validates(run) or _is_weighed_anew(run, values):
        return
    best, last = min(smooth(values)), end_level(values)
    if how == "thrown":
        text = say(
            "损失冲到 {top}，回来也只回到开始的水平 {last}",
            "The loss is thrown up to {top} and comes back only to where it began, {last}",
            top=max(values),
            last=last,
        )
    elif how == "lost":
        text = say(
            "损失曾降到 {best}，又回到 {last}，没有再降下来",
            "The loss had come down to {best}, went back to {last} and stayed",
            best=best,
            last=last,
        )
    else:
        text = say(
            "损失从 {first} 升到 {last}", "The loss rises from {first} to {last}", first=start_level(values), last=last
        )
    yield Harm(id="diverging", text=text, lines=lines_of(points[-1]), step=points[-1].step)


def _validates(run: TrainingRun) -> bool:
    """Whether validation, up to the end, says that the model has learned: then a loss that rises is a harder task."""
    last = _place(records(run, "loss")[-1])
    for key in ("val_accuracy", "accuracy"):
        points = finite(records(run, key))
        shares = shares_of(points)
        if len(points) >= 2 and _place(points[-1]) >= 0.9 * last and shares[-1] >= 0.9:
            return shares[-1] > max(shares) - 0.07
    return False


def _is_weighed_anew(run: TrainingRun, values: Sequence[float]) -> bool:
    """Whether training leaps after having learned while validation does not: its loss is weighed anew, not lost."""
    held_out = values_of(finite(records(run, "val_loss")))
    if any(after >= 1.6 * before for before, after in pairwise(held_out)):
        return False
    if run.from_start and _leaps_to_its_scale(values):
        return True
    return len(held_out) >= 4 and 10 * min(smooth(values)) < values[0] and held_out[-1] < 0.97 * held_out[0]


def _leaps_to_its_scale(values: Sequence[float]) -> bool:
    """Whether a loss is far below every usual one from its first record on, leaps a thousandfold, and rises no more.

    No model begins with a loss like that: it is weighed by a small factor at first.
    """
    leap = next((index for index, value in enumerate(values) if value > 10 * values[0]), 0)
    before, after = values[:leap], values[leap:]
    if leap < _MIN_RECORDS or len(after) < _MIN_RECORDS or not 0 < values[0] < _UNUSUAL:
        return False
    third = len(after) // 3
    steady = median(after[-third:]) < 1.3 * max(median(after[:third]), median(after[third : 2 * third]))
    return steady and median(after) > _LEAP * median(before[-_MIN_RECORDS:])


def is_apart(run: TrainingRun) -> bool:
    """Whether validation is far worse than training at the end: by a quarter of all samples and ten times the loss."""
    keys = ("accuracy", "val_accuracy", "loss", "val_loss")
    series = [finite(records(run, key)) for key in keys]
    if not all(series):
        return False
    right, held_right = shares_of(series[0])[-1], shares_of(series[1])[-1]
    train, held_out = series[2][-1].value, series[3][-1].value
    return right > 0.95 and held_right < right - 0.25 and held_out > max(10 * train, 1.0)


def _place(point: Record) -> int:
    return point.line or point.step or 0


# H3


def _no_learning(run: TrainingRun) -> Iterator[Harm]:
    points = finite(records(run, "loss"))
    if is_objective(run) and not warms_up(run) and not lasting_nonfinite(records(run, "loss")):
        if classes := classes_at_chance(run):
            last = points[-1]
            yield Harm(
                id="no_learning",
                lines=lines_of(last),
                step=last.step,
                text=say(
                    "损失停在 {value}，正是 {classes} 个类别瞎猜的水平 ln {classes}",
                    "The loss stays at {value}, that of guessing among {classes} classes (ln {classes})",
                    value=last.value,
                    classes=str(classes),
                ),
            )
            return
        if stuck := stuck_at_clamp(run) or stuck_exactly(run):
            yield Harm(
                id="no_learning",
                lines=lines_of(stuck[0]),
                step=stuck[0].step,
                text=say(
                    "损失从{at}起一直是 {value}，一位数字也不变",
                    "From {at} on the loss is {value} to all digits",
                    at=stuck[0],
                    value=stuck[0].value,
                ),
            )
            return
        if gradient_always_zero(run):
            norms = records(run, "grad_norm")
            yield Harm(
                id="no_learning",
                lines=lines_of(norms[0], norms[-1]),
                step=norms[-1].step,
                text=say("梯度范数从头到尾恰好是 0", "The gradient norm is exactly 0 in every record"),
            )
            return
        if constant := validation_constant(run):
            yield Harm(
                id="no_learning",
                lines=lines_of(constant[0], constant[-1]),
                step=constant[-1].step,
                text=say(
                    "{count} 次验证的损失都是 {value}，一位数字也不变",
                    "In {count} evaluations the loss of validation is {value} to all digits",
                    count=str(len(constant)),
                    value=constant[-1].value,
                ),
            )
            return
        if validation_at_guessing(run):
            shares = finite(records(run, "val_accuracy"))
            yield Harm(
                id="no_learning",
                lines=lines_of(shares[0], shares[-1]),
                step=shares[-1].step,
                text=say(
                    "{count} 次验证里准确率一直在 {value} 上下",
                    "In {count} evaluations the accuracy stays about {value}",
                    count=str(len(shares)),
                    value=shares[-1].value,
                ),
            )
            return
        if steps_of_clamp(run):
            yield Harm(
                id="no_learning",
                lines=lines_of(points[0], points[-1]),
                step=points[-1].step,
                text=say(
                    "每个损失都是 100/n 的整数倍：损失的对数被截断在 −100",
                    "Every loss is a whole multiple of 100/n: the logarithm in it is clamped at −100",
                ),
            )
            return
        if worse_than_guessing(run):
            yield Harm(
                id="no_learning",
                lines=lines_of(points[-1]),
                step=points[-1].step,
                text=say(
                    "训练到最后损失还有 {value}，比瞎猜差得多",
                    "At the end the loss is still {value}, far worse than guessing",
                    value=end_level(values_of(points)),
                ),
            )
            return
        if is_flat(run):
            yield Harm(
                id="no_learning",
                lines=lines_of(points[0], points[-1]),
                step=points[-1].step,
                text=say(
                    "{count} 条记录里损失只从 {first} 到 {last}",
                    "In {count} records the loss goes from {first} to {last} only",
                    count=str(len(points)),
                    first=points[0].value,
                    last=points[-1].value,
                ),
            )
            return
    yield from _accuracy_at_chance(run)


def _accuracy_at_chance(run: TrainingRun) -> Iterator[Harm]:
    """An accuracy that stays at exactly 1/2, or at 0, while no loss says otherwise."""
    losses = values_of(finite(records(run, "loss")))
    falls = len(losses) >= 4 and end_level(losses) < 0.9 * losses[0]
    for key in ("accuracy", "val_accuracy"):
        points = finite(records(run, key))
        tail = equal_tail(points)
        if len(tail) >= 5 and tail[0].value in (0.5, 50.0) and not falls:
            yield Harm(
                id="no_learning",
                lines=lines_of(tail[0]),
                step=tail[0].step,
                text=say(
                    "{key} 从{at}起一直是 {value}",
                    "From {at} on {key} is {value}",
                    key=key,
                    at=tail[0],
                    value=tail[0].value,
                ),
            )
            return


# H4


def scale_path(run: TrainingRun) -> str:
    """How the loss scale goes: "", "startup", "hovering", or "staircase" down towards its floor."""
    points = finite(records(run, "loss_scale"))
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
    counted = sum(int(point.value) for point in finite(records(run, "skipped")) if 0 <= point.value < 1e6)
    return max(events, counted if not _is_cumulative(run) else int(finite(records(run, "skipped"))[-1].value))


def _is_cumulative(run: TrainingRun) -> bool:
    values = values_of(finite(records(run, "skipped")))
    return len(values) >= 2 and values[-1] > 1 and all(after >= before for before, after in pairwise(values))


def _skipping(run: TrainingRun) -> Iterator[Harm]:
    scales = finite(records(run, "loss_scale"))
    if scale_path(run) == "staircase":
        yield Harm(
            id="skipping",
            lines=lines_of(scales[0], scales[-1]),
            step=scales[-1].step,
            text=say(
                "损失缩放系数从 {first} 一路降到 {last}",
                "The loss scale goes down from {first} to {last}",
                first=scales[0].value,
                last=scales[-1].value,
            ),
        )
        return
    late = [event for event in run.events if event.kind == "skipped_update" and _is_late(event)]
    span = step_span(records(run, "loss"))
    if late and span and len(late) > max(3, 0.1 * span) and _still_skips(run, late):
        yield Harm(
            id="skipping",
            lines=tuple(event.line for event in late[-1:] if event.line),
            step=late[-1].step,
            text=say(
                "第 50 步以后还跳过了 {count} 次更新",
                "After step 50, {count} updates are still skipped",
                count=str(len(late)),
            ),
        )
        return
    yield from _skipped_by_step(run)
    if (points := finite(records(run, "skipped"))) and len(points) >= 4 and not _is_cumulative(run):
        tail = points[len(points) // 2 :]
        if min(values_of(tail)) >= 1 and not any(True for _ in finite(records(run, "loss"))[-2:]):
            yield Harm(
                id="skipping",
                lines=lines_of(tail[-1]),
                step=tail[-1].step,
                text=say(
                    "每个区间都有更新被跳过，而且没有损失",
                    "Updates are skipped in every interval, and there is no loss",
                ),
            )


def _skipped_by_step(run: TrainingRun) -> Iterator[Harm]:
    """Of a run that says of each step whether it was skipped: more than a tenth after the first steps, to the end."""
    flags = finite(records(run, "skipped"))
    late = [flag for flag in flags if flag.step is not None and flag.step > _MIN_STEPS]
    if len(late) < 20 or any(flag.value not in (0, 1) for flag in flags):
        return
    share = math.fsum(values_of(late)) / len(late)
    if share > 0.1 and any(values_of(late[-len(late) // 5 :])):
        yield Harm(
            id="skipping", lines=lines_of(late[-1]), step=late[-1].step,
            text=say("第 50 步以后还有 {share} 的更新被跳过", "After step 50, {share} of the updates are still skipped",
                     share=f"{100 * share:.0f} %"),
        )  # fmt: skip


def _is_late(event: RunEvent) -> bool:
    return event.step is not None and event.step > _MIN_STEPS


def _still_skips(run: TrainingRun, late: Sequence[RunEvent]) -> bool:
    last = max((point.step or 0 for point in records(run, "loss")), default=0)
    return (late[-1].step or 0) > 0.8 * last


# H5


def accuracy_lost(run: TrainingRun) -> tuple[Record, Record] | None:
    """(the best, the last) accuracy of validation, where a good part of what was right is right no more."""
    points = finite(records(run, "val_accuracy"))
    shares = shares_of(points)
    if len(shares) < 4 or not is_objective(run) or max(shares) - max(shares[-2:]) < _ACCURACY_LOST:
        return None
    return points[shares.index(max(shares))], points[-1]


def _evaluation(run: TrainingRun) -> Iterator[Harm]:
    train, held_out = finite(records(run, "loss")), records(run, "val_loss")
    if lasting_nonfinite(records(run, "loss")):
        return
    if (lost := accuracy_lost(run)) is not None:
        yield Harm(
            id="evaluation",
            lines=lines_of(*lost),
            step=lost[1].step,
            text=say(
                "验证准确率从 {best}（{at}）掉到 {last}",
                "The accuracy of validation falls from {best} ({at}) to {last}",
                best=lost[0].value, at=lost[0], last=lost[1].value,
            ),
        )  # fmt: skip
        return
    if (bad := lasting_nonfinite(held_out)) and train:
        yield Harm(
            id="evaluation",
            lines=lines_of(bad),
            step=bad.step,
            text=say(
                "验证损失从{at}起是 {value}，训练损失却是有限数",
                "The validation loss is {value} from {at} on, the training loss is finite",
                at=bad,
                value=bad.value,
            ),
        )
        return
    how = gap(run)
    points = finite(held_out)
    if how:
        text = {
            "apart": say(
                "训练损失 {train}，验证损失 {held}，准确率也差得远",
                "The training loss is {train}, that of validation {held}, and the accuracies are as far apart",
                train=end_level(values_of(train)),
                held=points[-1].value,
            ),
            "never": say(
                "训练损失降到 {train}，验证损失却从没降过，现在是 {held}",
                "The training loss falls to {train}; the validation loss has never fallen and is {held}",
                train=end_level(values_of(train)),
                held=points[-1].value,
            ),
            "turned": say(
                "验证损失最低到过 {best}，后来升到 {held}，训练损失还在降",
                "The validation loss was {best} at its lowest and has risen to {held} while the training loss falls",
                best=min(values_of(points)),
                held=points[-1].value,
            ),
            "lost": say(
                "验证损失最低到过 {best}，后来升到 {held}，训练损失也没有更好",
                "The validation loss was {best} at its lowest and has risen to {held}; training is no better",
                best=min(values_of(points)),
                held=points[-1].value,
            ),
        }[how]
        yield Harm(id="evaluation", text=text, lines=lines_of(points[-1]), step=points[-1].step)


def gap(run: TrainingRun, *, apart: bool = True) -> str:
    """How training and validation part; "" if they do not.

    "apart": far apart at the end, in loss and accuracy. "never": validation never improved.
    "turned": it did at first, and training goes on. "lost": both get worse again.
    """
    train, held_out = values_of(finite(records(run, "loss"))), values_of(finite(records(run, "val_loss")))
    if apart and is_apart(run):
        return "apart"
    if len(train) < 3 or len(held_out) < 4 or min(train) < 0 or min(held_out) <= 0 or not is_objective(run):
        return ""
    end, best, last = end_level(train), min(held_out), median(held_out[-2:])
    half = end < 0.5 * start_level(train)
    never = best > 0.95 * held_out[0]
    if half and never and last > max(1.15 * held_out[0], 3 * end, 0.5 * train[0]):
        return "never"
    learns = end < 0.85 * train[0] and train[0] - end > 4 * noise(train) / math.sqrt(max(3, len(train) // 20))
    if learns and best > 0.9 * held_out[0] and best > 0.8 * train[0] and last > 1.2 * end:
        return "never"
    lowest = held_out.index(best)
    rising = len(held_out) - lowest > 3 and share_ascending(held_out[lowest:]) >= 0.7
    far = last > max(1.3 * best, 2 * end, 0.35 * train[0]) or last > max(1.1 * best, 10 * end, 0.5 * train[0])
    if half and (not never or lowest > 0) and rising and far:
        return "turned"
    worse = last > max(4 * best, 0.5 * train[0]) and end > 0.2 * train[0]
    return "lost" if worse and rising and lowest < len(held_out) - 1 else ""


# What was printed


def _stopped(run: TrainingRun, *, known: bool) -> Iterator[Harm]:
    """The messages and tracebacks that end a run, and warnings where nothing else was printed."""
    has_loss = bool(finite(records(run, "loss")))
    for event in run.events:
        fatal = event.kind in ("message", "traceback") and (event.name in _FATAL or event.kind == "traceback")
        warning = event.name in _WARNINGS and not has_loss and not known
        if (fatal or warning) and not _CALLED_OFF.search(f"{event.name} {event.text}"):
            yield Harm(
                id="stopped",
                lines=(event.line,) if event.line else (),
                step=event.step,
                text=say("日志里写着：{words}", "The log says: {words}", words=_shorten(event.text)),
            )
            return


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
