"""The harm "nonfinite": a loss, a gradient or a weight that is not finite, and stays so."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from qa_service.diagnosis.curves import (
    finite_records,
    first_nonfinite,
    format_text,
    harm_of_records,
    lines_of,
    records,
)
from qa_service.diagnosis.divergence_harm import line_or_step
from qa_service.diagnosis.skipping_harm import skipped_steps
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import Record, TrainingRun

RECOVERED_RECORDS = 3
"""A series that ends in this many finite records has recovered from a nan before them."""
_TOLERATED_SHARE = 0.05  # of records that may be nan or inf if the run survives them
_SEPARATE = 4
"""Records between two nans from which on they count as two occurrences."""


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


def nonfinite_harms(run: TrainingRun) -> Iterator[Harm]:
    """The harms "nonfinite": of a fault in a step, the loss or a part of it, the gradient norm, the weights."""
    if run.fault is not None:
        where = f" ({run.fault.operation})" if run.fault.operation else ""
        yield Harm(
            id="nonfinite",
            step=run.fault.step,
            text=format_text(
                "一步计算里出现了 {value}{where}", "A step made {value}{where}", value=run.fault.value, where=where
            ),
        )
    for key in loss_keys(run):
        if key != "loss" and _is_nan_without_harm(run, key):
            continue
        if bad := lasting_nonfinite(records(run, key)):
            yield harm_of_records(
                "nonfinite",
                format_text(
                    "{key} 从{at}起是 {value}", "{key} is {value} from {at} on", key=key, at=bad, value=bad.value
                ),
                bad,
            )
            return
    yield from _recurring(run)
    yield from _gradients(run)
    if hidden := hidden_nan(run):
        yield harm_of_records(
            "nonfinite",
            format_text(
                "{at}的损失印成 0，梯度范数却不是有限数",
                "At {at} the loss is printed as 0 beside a gradient norm that is not finite",
                at=hidden,
            ),
            hidden,
        )
    yield from _weights(run)


def _is_nan_without_harm(run: TrainingRun, key: str) -> bool:
    """Whether a part of the loss is nan and the loss itself stays finite, as where a batch has no samples for it."""
    bad = lasting_nonfinite(records(run, key))
    after = [point for point in records(run, "loss") if bad is not None and line_or_step(point) >= line_or_step(bad)]
    return len(after) >= RECOVERED_RECORDS and all(math.isfinite(point.value) for point in after)


def _recurring(run: TrainingRun) -> Iterator[Harm]:
    """The harm of single nan losses that recur, in a run without loss scaling and skipped updates, which would explain
    them.
    """
    points = records(run, "loss")
    bad = [index for index, point in enumerate(points) if math.isnan(point.value)]
    apart = [after for before, after in pairwise([-_SEPARATE, *bad]) if after - before >= _SEPARATE]
    scaled = any(point.value != 1 for point in records(run, "loss_scale")) or skipped_steps(run)
    if len(apart) >= 2 and not scaled and hidden_nan(run) is None:
        yield Harm(
            id="nonfinite",
            lines=lines_of(points[apart[0]], points[apart[-1]]),
            step=points[apart[0]].step,
            text=format_text(
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
    """The harm of a gradient norm that stays non-finite, unless the loss keeps changing after it."""
    norms, losses = records(run, "grad_norm"), finite_records(records(run, "loss"))
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
        yield harm_of_records(
            "nonfinite",
            format_text(
                "梯度范数从{at}起是 {value}", "The gradient norm is {value} from {at} on", at=bad, value=bad.value
            ),
            bad,
        )


def _weights(run: TrainingRun) -> Iterator[Harm]:
    for layer in run.layers:
        if layer.kind == "parameter" and any(
            name.startswith("weight") and not math.isfinite(value) for name, value in layer.values.items()
        ):
            yield Harm(
                id="nonfinite",
                step=layer.step,
                text=format_text(
                    "第 {step} 步 {layer} 的权重不再是有限数",
                    "At step {step} the weights of {layer} are not finite",
                    step=str(layer.step),
                    layer=layer.layer,
                ),
            )
            return
