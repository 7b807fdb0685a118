"""Rules on a loss that does not move: at chance, constant, at a clamp, flat; its gradient."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from qa_service.diagnosis.curves import (
    equal_tail,
    finite_records,
    format_text,
    noise_deviation,
    records,
    rolling_medians,
    share_ascending,
    start_level,
    values_of,
)
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.nonfinite_harm import hidden_nan
from qa_service.diagnosis.stalled_loss import (
    at_exact_clamp,
    clamp_of,
    classes_at_chance,
    constant_loss_tail,
    gradient_always_zero,
    is_flat,
    multiples_of_clamp,
    stuck_at_clamp,
    wrong_at_clamp,
)
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_TINY_GRADIENT, _USUAL_GRADIENT = 1e-5, 1e-2
_SCALED_GRADIENT = 2e3


def loss_at_chance(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the loss stays at ln C, the loss of guessing among C classes."""
    classes = classes_at_chance(run)
    if classes is None:
        return
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    text = format_text(
        "损失停在 {value}，即 ln {classes}",
        "The loss stays at {value}, which is ln {classes}",
        value=values[-1],
        classes=str(classes),
    )
    yield from feature_findings("at_chance", text, points[-1])
    if values[0] > 1.3 * values[-1]:
        text = format_text(
            "损失从 {first} 一下落到瞎猜水平 {last}，就停住了",
            "The loss drops from {first} to that of guessing, {last}, and stays",
            first=values[0],
            last=values[-1],
        )
        yield from feature_findings("fell_to_chance", text, points[0], points[-1])


def flat_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the loss is constant to all digits, stands at a clamp, or hardly moves."""
    if tail := stuck_at_clamp(run):
        value = median(values_of(tail))
        by_accuracy = wrong_at_clamp(run, value)
        found = by_accuracy or clamp_of(value)
        if found:
            text = format_text(
                "损失停在 {value}，是 −ln({code}) = {largest} 的 {share}：有截断",
                "The loss stays at {value}, {share} of −ln({code}) = {largest}: there is a clamp",
                value=value,
                code=found[2] if found[0] != 100 else "e⁻¹⁰⁰",
                largest=found[0],
                share=f"{100 * found[1]:.0f} %",
            )
            exact = at_exact_clamp(run) is not None
            feature = "exact_clamp" if exact else "clamp_by_accuracy" if by_accuracy else "at_clamp"
            yield from feature_findings(feature, text, tail[0])
    if multiples_of_clamp(run):
        points = finite_records(records(run, "loss"))
        text = format_text(
            "损失都是 100/n 的整数倍：每个样本不是 0 就是 −ln(e⁻¹⁰⁰)",
            "The losses are whole multiples of 100/n: each sample gives 0 or the clamp of −log, 100",
        )
        yield from feature_findings("steps_of_clamp", text, points[0], points[-1])
    if tail := constant_loss_tail(run):
        text = format_text(
            "从{at}起损失一直是 {value}，一位也不变",
            "From {at} on the loss is {value} to all digits",
            at=tail[0],
            value=tail[0].value,
        )
        yield from feature_findings("exactly_constant", text, tail[0], tail[-1])
        return
    points = finite_records(records(run, "loss"))
    if is_flat(run):
        yield from _flat(run, points)


def _flat(run: TrainingRun, points: Sequence[Record]) -> Iterator[Finding]:
    values = values_of(points)
    if values[0] > median(values[1:]) + max(2.5 * noise_deviation(values), 0.05 * abs(values[0])):
        text = format_text(
            "开头从 {first} 降到 {rest}，以后就不动了",
            "It falls from {first} to {rest} at first, and then no more",
            first=values[0],
            rest=median(values[1:]),
        )
        yield from feature_findings("fell_at_first", text, points[0], points[-1])
    third = len(values) // 3
    fallen = median(values[:third]) - median(values[-third:])
    blur = 2 * noise_deviation(values) / math.sqrt(third)
    if fallen > max(blur, 1e-4 * abs(values[0])) and share_ascending(rolling_medians(values)) < 0.4:
        text = format_text(
            "损失在降，但 {count} 条记录只降了 {fallen}",
            "The loss falls, but only by {fallen} in {count} records",
            count=str(len(values)),
            fallen=fallen,
        )
        yield from feature_findings("creeps", text, points[0], points[-1])
    elif classes_at_chance(run) is None:
        text = format_text(
            "损失停在开始的水平 {value} 附近", "The loss stays near its first level, {value}", value=start_level(values)
        )
        yield from feature_findings("flat_beside_chance", text, points[0], points[-1])


def _does_not_move(run: TrainingRun) -> bool:
    """Whether the loss does not move."""
    return bool(
        classes_at_chance(run)
        or is_flat(run)
        or constant_loss_tail(run)
        or stuck_at_clamp(run)
        or gradient_always_zero(run)
    )


def gradient_while_flat(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the size of the gradient where the loss does not move."""
    norms = finite_records(records(run, "grad_norm"))
    if len(norms) < 2 or not _does_not_move(run):
        return
    values = values_of(norms[-8:])
    usual = median(values)
    scale = finite_records(records(run, "loss_scale"))
    if scale and usual > max(100.0, 0.003 * scale[-1].value):
        text = format_text(
            "梯度范数约 {norm}，与缩放系数 {scale} 同一量级：它还没有除以系数",
            "The gradient norm, {norm}, is of the size of the loss scale, {scale}: it has not been divided by it",
            norm=usual,
            scale=scale[-1].value,
        )
        yield from feature_findings("gradient_scaled", text, norms[-1])
        return
    if not scale and min(values_of(norms)) > _SCALED_GRADIENT:
        text = format_text(
            "梯度范数一直在 {norm} 左右，损失却不动：像是还没有除以损失缩放系数",
            "The gradient norm is about {norm} all the time, yet the loss does not move: it looks as if it still "
            "carried a loss scale",
            norm=usual,
        )
        yield from feature_findings("gradient_looks_scaled", text, norms[0], norms[-1])
    feature = (
        "gradient_zero"
        if usual == 0
        else "gradient_tiny"
        if usual < _TINY_GRADIENT
        else "gradient_usual"
        if usual >= _USUAL_GRADIENT
        else ""
    )
    words = {
        "gradient_zero": ("梯度范数恰好是 0", "The gradient norm is exactly 0"),
        "gradient_tiny": ("梯度范数只有 {norm}", "The gradient norm is only {norm}"),
        "gradient_usual": (
            "梯度范数 {norm} 并不小，损失却不动",
            "The gradient norm, {norm}, is not small, yet the loss does not move",
        ),
    }
    if feature:
        yield from feature_findings(feature, format_text(*words[feature], norm=usual), norms[-1])
    losses = values_of(finite_records(records(run, "loss")))
    if feature == "gradient_zero" and losses and 0 < abs(median(losses)) < 1e-3:
        text = format_text(
            "损失只有 {loss}，梯度恰好是 0", "The loss is only {loss} and the gradient exactly 0", loss=median(losses)
        )
        yield from feature_findings("tiny_without_gradient", text, norms[-1])
    if feature == "gradient_zero" and losses and median(losses) > 5 and (run.from_start or len(losses) > 4):
        text = format_text(
            "损失高达 {loss}，梯度却是 0：截断把梯度挡住了",
            "The loss is {loss}, yet the gradient is 0: a clamp stops it",
            loss=median(losses),
        )
        yield from feature_findings("high_without_gradient", text, norms[-1])


def zero_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a loss of 0 that hides a nan, or that comes from a batch without labels."""
    if hidden := hidden_nan(run):
        text = format_text(
            "{at}：损失印成 0.0，梯度范数是 nan；那一段的每个损失都是 nan",
            "{at}: the loss is printed as 0.0 beside a gradient norm of nan; every loss of that interval was nan",
            at=hidden,
        )
        yield from feature_findings("hidden_by_log", text, hidden)
    losses, norms = finite_records(records(run, "loss")), records(run, "grad_norm")
    if len(losses) >= 3 and all(point.value == 0 for point in losses) and (not norms or norms[-1].value == 0):
        text = format_text("损失从头到尾是 0", "The loss is 0 from the first record to the last")
        yield from feature_findings("zero_loss_and_gradient", text, losses[0], losses[-1])
        if run.format == "hf_trainer" and not norms:
            text = format_text("这种日志把 nan 的损失印成 0.0", "This trainer prints a loss that is nan as 0.0")
            yield from feature_findings("hidden_by_log", text, losses[0])


def tiny_loss(run: TrainingRun) -> Iterator[Finding]:
    """Findings on a training loss that is tiny from the first record on, while the validation loss is not and does not
    move.
    """
    losses, held_out = finite_records(records(run, "loss")), finite_records(records(run, "val_loss"))
    if len(losses) < 8 or len(held_out) < 3 or not run.from_start:
        return
    largest, least = max(values_of(losses)), min(values_of(held_out))
    if 0 <= largest < 1e-4 and least > 0.1 and least > 0.97 * held_out[0].value:
        text = format_text(
            "训练损失一开始就只有 {loss}，验证损失却停在 {held}：损失被乘了一个很小的数，float16 的梯度都成了 0",
            "The training loss is {loss} from the start, that of validation stays at {held}: the loss is multiplied by "
            "a small number, and float16 rounds its gradients to 0",
            loss=losses[0].value,
            held=least,
        )
        yield from feature_findings("tiny_loss_beside_validation", text, losses[0], held_out[-1])


def constant_accuracy(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the accuracy stays at that of one class, from the start or after having been higher."""
    for key in ("accuracy", "val_accuracy"):
        points = finite_records(records(run, key))
        tail = equal_tail(points)
        if len(tail) < 3 or tail[0].value in (0, 1, 100):
            continue
        best = max(values_of(points))
        if best > 1.15 * tail[0].value:
            text = format_text(
                "{key} 到过 {best}，从{at}起一直是 {value}：模型只猜一个类",
                "{key} was {best} at best and is {value} from {at} on: the model guesses one class",
                key=key,
                best=best,
                at=tail[0],
                value=tail[0].value,
            )
            yield from feature_findings("accuracy_collapsed", text, tail[0])
        elif len(tail) >= 5:
            text = format_text("{key} 一直是 {value}", "{key} is always {value}", key=key, value=tail[0].value)
            yield from feature_findings("accuracy_at_chance", text, tail[0])
        return
