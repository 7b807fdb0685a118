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
    number_setting,
    records,
    say,
    share_ascending,
    smooth,
    start_level,
    step_span,
    values_of,
    warms_up,
)
from qa_service.diagnosis.layer_harm import measured_harms
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import Record, RunEvent, TrainingRun

RECOVERED_RECORDS = 3
"""Finite records at the end from which on a nan before them has been survived."""
_TOLERATED_SHARE = 0.05  # of records that may be nan or inf if the run survives them
_KNOWN_CLASSES = (
    2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 21, 32, 50, 64, 80, 100, 101, 200, 256, 365, 512, 1000, 10000, 21843, 30522,
    32000, 32128, 50257, 50304, 65536, 100277, 128256, 151936, 152064,
)  # fmt: skip
_CLAMPS = {
    100.0: "-100", 87.3365: "1.18e-38", 15.3332: "1.19e-7 + 1e-7", 15.9424: "1.19e-7", 16.1181: "1e-7",
    18.4207: "1e-8", 13.8155: "1e-6",
    23.0259: "1e-10", 27.6310: "1e-12", 36.0437: "2.2e-16",
}  # fmt: skip
"""−log of the smallest probability that a loss admits → what its code says."""
_FLAT = 0.02
_CONVERGED = 0.02
_SLOWLY = 0.005
_BLURRED = 0.08
_MIN_STEPS = 50
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
        if bad := lasting_nonfinite(records(run, key)):
            yield Harm(
                id="nonfinite",
                lines=lines_of(bad),
                step=bad.step,
                text=say("{key} 从{at}起是 {value}", "{key} is {value} from {at} on", key=key, at=bad, value=bad.value),
            )
            return
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
    how = divergence(values) if is_objective(run) else "rising" if _runs_away(values) else None
    if how is None or _validates(run):
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
        shares = _shares(points)
        if len(points) >= 2 and _place(points[-1]) >= 0.9 * last and shares[-1] >= 0.9:
            return shares[-1] > max(shares) - 0.07
    return False


def is_apart(run: TrainingRun) -> bool:
    """Whether validation is far worse than training at the end: by a quarter of all samples and ten times the loss."""
    keys = ("accuracy", "val_accuracy", "loss", "val_loss")
    series = [finite(records(run, key)) for key in keys]
    if not all(series):
        return False
    right, held_right = _shares(series[0])[-1], _shares(series[1])[-1]
    train, held_out = series[2][-1].value, series[3][-1].value
    return right > 0.95 and held_right < right - 0.25 and held_out > max(10 * train, 1.0)


def _shares(points: Sequence[Record]) -> list[float]:
    """Accuracies as shares of 1, also of a series in per cent."""
    values = values_of(points)
    return [value / 100 for value in values] if values and max(values) > 1 else values


def _place(point: Record) -> int:
    return point.line or point.step or 0


def divergence(values: Sequence[float]) -> str | None:
    """How a loss diverges; None if it does not.

    "rising": above where it began. "lost": it had fallen. "thrown": far up, and back only to where it began.
    """
    level, last, spread = start_level(values), end_level(values), noise(values)
    smoothed = smooth(values)
    best = min(smoothed)
    if best > 0 and last >= 10 * best and last > 1.2 * level:
        return "rising" if best > 0.7 * level else "lost"
    if _hovers_high(values, values[0]):
        return "rising"
    if _rises(values, level, last, spread):
        return None if _levels_off(smoothed) else "rising"
    if _is_lost(values, smoothed, level, spread) or _stays_worse(smoothed, spread) or _forgets(smoothed, values[0]):
        return "lost"
    if _settles_high(smoothed, values[0]):
        return "lost"
    return "thrown" if _is_thrown(values, smoothed) else None


def _rises(values: Sequence[float], level: float, last: float, spread: float) -> bool:
    """Up by more than noise explains, through the second half, to well above the start."""
    half = values[len(values) // 2 :] if len(values) >= 10 else values[-5:]
    ends = median(half[: max(1, len(half) // 3)]), median(half[-max(1, len(half) // 3) :])
    climbs = ends[1] - ends[0] > max(3 * spread, 0.05 * abs(ends[0]))
    steady = len(values) >= 10 or share_ascending(half) == 1
    return climbs and steady and last > level + max(6 * spread, 0.3 * abs(level))


def _levels_off(smoothed: Sequence[float]) -> bool:
    """Smoothly up from the start, less and less, to less than three times: as losses of adversaries do."""
    third = len(smoothed) // 3
    if third < 4 or smoothed[-1] > 3 * smoothed[0] or share_ascending(smoothed) < 0.75:
        return False
    return smoothed[-1] - smoothed[2 * third] < 0.8 * (smoothed[2 * third] - smoothed[third])


def _hovers_high(values: Sequence[float], level: float) -> bool:
    """Most of the second half far above the start."""
    half = sorted(values[len(values) // 2 :])
    return len(values) >= 8 and level > 0 and half[len(half) // 5] > 1.5 * level and median(half) > 2 * level


def _is_lost(values: Sequence[float], smoothed: Sequence[float], level: float, spread: float) -> bool:
    """Most of what had been learned is lost, and is not learned again."""
    best = min(smoothed)
    gained = level - best
    if len(values) < 8 or gained < max(6 * spread, 0.1 * abs(level)):
        return False
    after = list(smoothed[smoothed.index(best) + 1 :])
    high = next((index for index in range(len(after)) if all(v > best + 0.6 * gained for v in after[index:])), None)
    if high is None or len(after) - high < 5:
        return False
    tail = after[high + 1 :]
    third = max(1, len(tail) // 3)
    return median(tail[-third:]) > median(tail[:third]) - max(0.05 * gained, 2 * spread / math.sqrt(third))


def _stays_worse(smoothed: Sequence[float], spread: float) -> bool:
    """Clearly above its best for the last fifth at least, without falling again, as it would after a harder task."""
    best = min(smoothed)
    after = smoothed[smoothed.index(best) + 1 :]
    far = max(0.25 * abs(best), 8 * spread)
    high = next((index for index in range(len(after)) if all(v > best + far for v in after[index:])), None)
    if high is None or len(after) - high < max(8, len(smoothed) // 5) or best <= 0:
        return False
    tail = after[high + 1 :]
    third = len(tail) // 3
    return median(tail[-third:]) > median(tail[:third]) - 2 * spread / math.sqrt(third)


def _forgets(smoothed: Sequence[float], first: float) -> bool:
    """Back from almost nothing to a good part of the first loss, through the last sixth at least."""
    best = min(smoothed)
    after = smoothed[smoothed.index(best) + 1 :]
    tail = after[-max(6, len(smoothed) // 6) :]
    return len(after) >= len(tail) >= 6 and 0 < 20 * best < median(tail) and median(tail) > 0.25 * first > 0


def _settles_high(smoothed: Sequence[float], first: float) -> bool:
    """Back to more than half of the first loss after almost nothing, and hardly falling again in the last third."""
    best = min(smoothed)
    sixth = len(smoothed) // 6
    if sixth < 5 or not 0 < 8 * best < 0.5 * first:
        return False
    before, tail = smoothed[-2 * sixth : -sixth], smoothed[-sixth:]
    return min(before) > 8 * best and median(tail) > 0.5 * first and median(tail) > 0.85 * median(before)


def _is_thrown(values: Sequence[float], smoothed: Sequence[float]) -> bool:
    """Far above the first loss early on, and never clearly below it."""
    far = next((index for index, value in enumerate(values) if value > 5 * values[0] > 0), len(values))
    stays = min(smoothed) > 0.7 * values[0] and median(values[-5:]) > 0.75 * values[0]
    if len(values) >= 15 and median(values[-len(values) // 5 :]) > 0.4 * values[0] and max(values) > 20 * values[0]:
        return far < 0.3 * len(values)
    return len(values) >= 10 and far < 0.3 * len(values) and stays


def _runs_away(values: Sequence[float]) -> bool:
    """Of a loss that need not fall: up a hundredfold, record by record."""
    tail = values[-5:]
    usual = median(abs(value) for value in values[: max(3, len(values) // 2)])
    return share_ascending(tail) == 1 and usual > 0 and tail[-1] > 100 * usual and tail[-1] > 1e3


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


def classes_at_chance(run: TrainingRun) -> int | None:
    """C if the loss stays at ln C (log2 C, where losses are in bits) to the end; None if it does not."""
    values = values_of(finite(records(run, "loss")))
    tail = values[-12:]
    if len(tail) < 4 or min(tail) <= 0:
        return None
    mean = math.fsum(tail) / len(tail)
    falls = share_ascending(tail) == 0 and tail[0] - tail[-1] > 0.004 * mean
    if (max(tail) - min(tail)) / mean > 0.03:
        return _noisily_at_chance(run, values) or _dropped_to_chance(run, values)
    if falls or min(smooth(values)) < 0.93 * mean or (not run.from_start and noise(tail) > 0.002 * mean):
        return None
    return next((classes for classes in _classes(run) if abs(mean / _chance_loss(run, classes) - 1) < 0.006), None)


def _classes(run: TrainingRun) -> Sequence[int]:
    known = number_setting(run, "classes")
    return [int(known)] if known and known >= 2 else _KNOWN_CLASSES


def _chance_loss(run: TrainingRun, classes: int) -> float:
    return math.log2(classes) if run.settings.get("log2") else math.log(classes)


def _noisily_at_chance(run: TrainingRun, values: Sequence[float]) -> int | None:
    """The same for a loss of small batches, where the accuracy is at 1/C too."""
    shares = values_of(finite(records(run, "accuracy")))
    half = values[len(values) // 2 :]
    if not run.from_start or len(half) < 10 or len(shares) < 10 or values[0] < 0.9 * median(half):
        return None
    accuracy = median(shares[len(shares) // 2 :]) / (100 if max(shares) > 1 else 1)
    mean, error = math.fsum(half) / len(half), 2 * noise(half) / math.sqrt(len(half))
    drift = median(half[: len(half) // 2]) - median(half[len(half) // 2 :])
    if drift > 2 * error or min(smooth(values)) < 0.85 * mean:
        return None
    found = (
        classes
        for classes in _classes(run)
        if classes <= 100
        and abs(mean / _chance_loss(run, classes) - 1) < min(0.04, max(0.02, error / mean))
        and abs(accuracy - 1 / classes) < 0.4 / classes
        and (abs(values[0] / _chance_loss(run, classes) - 1) < 0.04 or max(values) > 1.3 * _chance_loss(run, classes))
    )
    return next(found, None)


def _dropped_to_chance(run: TrainingRun, values: Sequence[float]) -> int | None:
    """C of a loss that was far above ln C at the start, fell to it at once and has only noise about it ever since."""
    rest = values[len(values) // 3 :]
    if not run.from_start or len(rest) < 10 or values[0] < 3 * median(rest) or max(rest) > 1.1 * min(rest):
        return None
    mean, half = math.fsum(rest) / len(rest), len(rest) // 2
    if abs(median(rest[:half]) / median(rest[half:]) - 1) > 0.01:
        return None
    known = (each for each in _classes(run) if each <= 100 and abs(mean / _chance_loss(run, each) - 1) < 0.006)
    return next(known, None)


def stuck_exactly(run: TrainingRun) -> list[Record] | None:
    """The records at the end whose loss is one number to all digits, if that is no converged run."""
    points = finite(records(run, "loss"))
    tail = equal_tail(points)
    if len(tail) < 4 or points[0].value == 0:
        return _zero_from_the_start(run, points)
    value = tail[0].value
    if abs(value) < _CONVERGED or abs(value) < 0.7 * abs(start_level(values_of(points))):
        return None
    digits = len(f"{value:.10g}".replace(".", "").replace("-", "").strip("0"))
    whole = len(tail) == len(points)
    return tail if digits >= 3 or len(tail) >= 8 or (whole and run.from_start) else None


def _zero_from_the_start(run: TrainingRun, points: Sequence[Record]) -> list[Record] | None:
    """A loss that is 0 in every record: nothing is learned from it."""
    zero = len(points) >= 3 and all(point.value == 0 for point in points)
    rewritten = run.format == "hf_trainer"  # prints a loss that is nan as 0
    return list(points) if zero and (run.from_start or rewritten) else None


def stuck_at_clamp(run: TrainingRun) -> list[Record] | None:
    """The records at the end with a loss that stays at a share of the largest that a clamped logarithm gives."""
    points = finite(records(run, "loss"))
    tail = points[-5:]
    values = values_of(tail)
    if len(tail) < 4 or min(values) <= 3 or (max(values) - min(values)) > 0.01 * max(values):
        return None
    return tail if clamp_of(median(values)) else None


def clamp_of(value: float) -> tuple[float, float, str] | None:
    """(largest loss, share of the samples at it, the constant in the code) of a loss that stands at a clamp."""
    for share in (1.0, 0.5, 0.9, 2 / 3, 1 / 3):
        for largest, code in _CLAMPS.items():
            if abs(value / (largest * share) - 1) < 0.003:
                return largest, share, code
    return None


def validation_at_guessing(run: TrainingRun) -> bool:
    """Whether neither accuracy nor loss of validation has moved from a low level in four evaluations or more."""
    shares = _shares(finite(records(run, "val_accuracy")))
    held_out = values_of(finite(records(run, "val_loss")))
    if not run.from_start or len(shares) < 4 or (step_span(records(run, "loss")) or 2 * _MIN_STEPS) < 2 * _MIN_STEPS:
        return False
    if held_out and min(held_out) < 0.9 * held_out[0] and min(held_out) < max(0.7, 0.5 * held_out[0]):
        return False
    near = 0.12 if held_out else 0.0
    return 0 < max(shares) < 0.5 and max(shares) - min(shares) <= near


def steps_of_clamp(run: TrainingRun) -> bool:
    """Whether the losses are several whole multiples of 100/n, as means over n samples of 0 and 100 are."""
    values = values_of(finite(records(run, "loss")))
    if len(values) < 10 or len(set(values)) < 3 or min(values) < 3 or max(values) > 100 or not run.from_start:
        return False
    tolerance = 6e-4 if any(round(value, 2) != value for value in values) else 6e-3
    return any(all(abs(value * n / 100 - round(value * n / 100)) < tolerance * n / 100 for value in values)
               for n in (8, 16, 32, 64, 128) if tolerance * n / 100 < 0.05)  # fmt: skip


def gradient_always_zero(run: TrainingRun) -> bool:
    """Whether the gradient is exactly 0 in every record from the first on."""
    values = values_of(records(run, "grad_norm"))
    return run.from_start and len(values) >= 4 and not any(values)


def worse_than_guessing(run: TrainingRun) -> bool:
    """Whether a classifier's loss ends far above that of guessing, though it has had the time to learn."""
    values = values_of(finite(records(run, "loss")))
    if not run.from_start or len(values) < 10 or (step_span(records(run, "loss")) or _MIN_STEPS) < _MIN_STEPS:
        return False
    classes = number_setting(run, "classes")
    usual = 2 * _chance_loss(run, int(classes)) if classes and classes >= 2 else 20.0
    return bool(classes or records(run, "accuracy")) and median(values[-5:]) > usual


def is_flat(run: TrainingRun) -> bool:
    """Whether the loss of a run that is seen from its start has not moved at all, beyond what noise hides."""
    points = finite(records(run, "loss"))
    values = values_of(points)
    span = step_span(points)
    slow = run.format in ("hf_trainer", "llama_factory", "trainer_state", "trainer_log")
    enough = len(values) >= (20 if slow else 8) and (span is None or span >= _MIN_STEPS)
    if not run.from_start or not enough or abs(start_level(values)) < _CONVERGED:
        return False
    third = len(values) // 3
    first, last = median(values[:third]), median(values[-third:])
    if first == 0:
        return False
    spread = noise(values)
    blur = 2 * spread / math.sqrt(third) / abs(first)
    improved = (first - last) / abs(first)
    if slow and (improved > _SLOWLY or blur > 1.5 * _FLAT):  # a model that was trained before improves no faster
        return False
    if blur > _BLURRED or (blur > 1.5 * _FLAT and len(values) < 20):
        return False
    allowed, reach = max(_FLAT, min(1.2 * blur, 0.06)), max(2 * _FLAT * abs(first), 2.5 * spread)
    if _validation_stands(run):
        allowed, reach = 0.1, max(reach, 0.15 * abs(first))
    return (
        -0.15 < improved < allowed
        and min(smooth(values)) > first - reach
        and (start_level(values) < 1.3 * first or values[0] < 1.3 * first)
        and not _learns_elsewhere(run)
    )


def _validation_stands(run: TrainingRun) -> bool:
    """Whether the validation loss, which has less noise, has not moved either."""
    values = values_of(finite(records(run, "val_loss")))
    return len(values) >= 3 and min(values) > 0.97 * values[0] > 0


def _learns_elsewhere(run: TrainingRun) -> bool:
    """Whether accuracy or validation says that something is learned, or that little is left to learn."""
    if _is_accurate(run):
        return True
    held_out = values_of(finite(records(run, "val_loss")))
    if len(held_out) >= 2 and min(held_out) < 0.9 * held_out[0]:
        return True
    shares = values_of(finite(records(run, "accuracy")))
    third = len(shares) // 3
    rise = median(shares[-third:]) - median(shares[:third]) if third else 0.0
    return third > 0 and rise > 0.1 * (100 if max(shares) > 1 else 1)


def _is_accurate(run: TrainingRun) -> bool:
    """Whether the accuracy says that there is little left to learn."""
    for key in ("accuracy", "val_accuracy"):
        values = values_of(finite(records(run, key)))
        if values and (0.8 <= values[-1] <= 1 or 80 <= values[-1] <= 100):
            return True
    return False


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


def _evaluation(run: TrainingRun) -> Iterator[Harm]:
    train, held_out = finite(records(run, "loss")), records(run, "val_loss")
    if lasting_nonfinite(records(run, "loss")):
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
    if len(train) < 3 or len(held_out) < 4 or min(*train, *held_out) <= 0 or not is_objective(run):
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
