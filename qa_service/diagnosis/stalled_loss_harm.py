"""The harm "no_learning" of a log: a loss that does not fall."""

from collections.abc import Iterator

from qa_service.diagnosis.curves import (
    end_level,
    equal_tail,
    finite_records,
    format_text,
    harm_of_records,
    loss_is_objective,
    records,
    values_of,
    warms_up,
)
from qa_service.diagnosis.nonfinite_harm import lasting_nonfinite
from qa_service.diagnosis.stalled_loss import (
    classes_at_chance,
    constant_loss_tail,
    gradient_always_zero,
    is_flat,
    multiples_of_clamp,
    stuck_at_clamp,
    validation_at_guessing,
    validation_constant,
    worse_than_guessing,
)
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import TrainingRun


def stalled_loss_harms(run: TrainingRun) -> Iterator[Harm]:
    """The harm "no_learning" with the clearest sign that the loss does not fall; one at most."""
    points = finite_records(records(run, "loss"))
    if loss_is_objective(run) and not warms_up(run) and not lasting_nonfinite(records(run, "loss")):
        if classes := classes_at_chance(run):
            last = points[-1]
            yield harm_of_records(
                "no_learning",
                format_text(
                    "损失停在 {value}，正是 {classes} 个类别瞎猜的水平 ln {classes}",
                    "The loss stays at {value}, that of guessing among {classes} classes (ln {classes})",
                    value=last.value,
                    classes=str(classes),
                ),
                last,
            )
            return
        if stuck := stuck_at_clamp(run) or constant_loss_tail(run):
            yield harm_of_records(
                "no_learning",
                format_text(
                    "损失从{at}起一直是 {value}，一位数字也不变",
                    "From {at} on the loss is {value} to all digits",
                    at=stuck[0],
                    value=stuck[0].value,
                ),
                stuck[0],
            )
            return
        if gradient_always_zero(run):
            norms = records(run, "grad_norm")
            yield harm_of_records(
                "no_learning",
                format_text("梯度范数从头到尾恰好是 0", "The gradient norm is exactly 0 in every record"),
                norms[0],
                norms[-1],
            )
            return
        if constant := validation_constant(run):
            yield harm_of_records(
                "no_learning",
                format_text(
                    "{count} 次验证的损失都是 {value}，一位数字也不变",
                    "In {count} evaluations the loss of validation is {value} to all digits",
                    count=str(len(constant)),
                    value=constant[-1].value,
                ),
                constant[0],
                constant[-1],
            )
            return
        if validation_at_guessing(run):
            shares = finite_records(records(run, "val_accuracy"))
            yield harm_of_records(
                "no_learning",
                format_text(
                    "{count} 次验证里准确率一直在 {value} 上下",
                    "In {count} evaluations the accuracy stays about {value}",
                    count=str(len(shares)),
                    value=shares[-1].value,
                ),
                shares[0],
                shares[-1],
            )
            return
        if multiples_of_clamp(run):
            yield harm_of_records(
                "no_learning",
                format_text(
                    "每个损失都是 100/n 的整数倍：损失的对数被截断在 −100",
                    "Every loss is a whole multiple of 100/n: the logarithm in it is clamped at −100",
                ),
                points[0],
                points[-1],
            )
            return
        if worse_than_guessing(run):
            yield harm_of_records(
                "no_learning",
                format_text(
                    "训练到最后损失还有 {value}，比瞎猜差得多",
                    "At the end the loss is still {value}, far worse than guessing",
                    value=end_level(values_of(points)),
                ),
                points[-1],
            )
            return
        if is_flat(run):
            yield harm_of_records(
                "no_learning",
                format_text(
                    "{count} 条记录里损失只从 {first} 到 {last}",
                    "In {count} records the loss goes from {first} to {last} only",
                    count=str(len(points)),
                    first=points[0].value,
                    last=points[-1].value,
                ),
                points[0],
                points[-1],
            )
            return
    yield from _accuracy_at_chance(run)


def _accuracy_at_chance(run: TrainingRun) -> Iterator[Harm]:
    """The harm of an accuracy that stays at exactly 1/2, or at 0, while no loss says otherwise."""
    losses = values_of(finite_records(records(run, "loss")))
    falls = len(losses) >= 4 and end_level(losses) < 0.9 * losses[0]
    for key in ("accuracy", "val_accuracy"):
        points = finite_records(records(run, key))
        tail = equal_tail(points)
        if len(tail) >= 5 and tail[0].value in (0.5, 50.0) and not falls:
            yield harm_of_records(
                "no_learning",
                format_text(
                    "{key} 从{at}起一直是 {value}",
                    "From {at} on {key} is {value}",
                    key=key,
                    at=tail[0],
                    value=tail[0].value,
                ),
                tail[0],
            )
            return
