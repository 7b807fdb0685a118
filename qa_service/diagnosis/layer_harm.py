"""The harm gate of a recorded run: a loss that ends high, with a measured property of the model that explains it.

A poor loss alone is no harm: a large model is far from its end after a few hundred steps. So each test asks for both,
and for a run that is seen from its start, long enough, and that no accuracy or validation loss calls good.
"""

import math
from collections.abc import Callable, Iterator
from statistics import fmean, median

from qa_service.diagnosis.curves import finite_records, format_text, loss_is_objective, records, values_of, warms_up
from qa_service.diagnosis.layer_rules.formats import swallowed_share
from qa_service.diagnosis.layer_rules.normalisation import post_norm
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import TrainingRun
from qa_service.model.values import Text

_STEPS = 100
_GOOD_ACCURACY = 0.8
_HALF_BASELINE, _NEAR_BASELINE, _HIGH_MEAN = 0.5, 0.85, 0.2
"""Thresholds of a loss over that of guessing: a last loss above the first is high, above the second near guessing.

The third is for the mean of the last third of the losses, spikes included, of a classifier.
"""
_STILL_FALLS = 0.95


def measured_harms(run: TrainingRun) -> Iterator[Harm]:
    """The harm of a run that does not learn, if a measured property explains it; one at most."""
    if not run.layers or not run.from_start or not loss_is_objective(run) or warms_up(run):
        return
    traced = TracedRun(run)
    if len(traced.losses) < _STEPS or not all(map(math.isfinite, traced.losses)):
        return
    for test in (_overconfident,) if _is_accurate(run) else _TESTS:
        if (why := test(traced)) is not None:
            last = records(run, "loss")[-1]
            yield Harm(id="no_learning", step=last.step, text=_with_loss(why, traced))
            return


def _with_loss(why: Text, traced: TracedRun) -> Text:
    seen = format_text("损失停在 {level}", "the loss ends at {level}", level=traced.worse_final_loss)
    return Text(f"{why.zh}；{seen.zh}", f"{why.en}; {seen.en}")


def _is_accurate(run: TrainingRun) -> bool:
    return any(
        values and values[-1] >= _GOOD_ACCURACY
        for key in ("accuracy", "val_accuracy")
        if (values := values_of(finite_records(records(run, key))))
    )


def _share(traced: TracedRun) -> float:
    """The last loss divided by the loss of guessing or by the first loss; 0 where neither is known."""
    return traced.final_loss_over_baseline or 0.0


def _near_guessing(traced: TracedRun) -> Text | None:
    third = len(traced.losses) // 3
    middle, last = median(traced.losses[third:-third]), median(traced.losses[-third:])
    shares = values_of(finite_records(records(traced.run, "val_accuracy")))
    classes = traced.number("classes") or math.inf
    known = traced.constant_baseline_loss is not None
    if (
        known
        and _share(traced) > _NEAR_BASELINE
        and last > _STILL_FALLS * middle
        and (not shares or max(shares[-2:]) < 2 / classes)
    ):
        return format_text("损失不再下降，几乎和瞎猜一样", "The loss no longer falls and is hardly better than a guess")
    return None


def _does_not_improve(traced: TracedRun) -> Text | None:
    """The text of the harm if, in a run whose loss of guessing is unknown, neither loss nor validation loss
    improves.
    """
    held_out = values_of(finite_records(records(traced.run, "val_loss")))
    long = len(traced.losses) >= 1.5 * _STEPS
    if (
        traced.chance_loss is None
        and long
        and traced.loss_is_stuck
        and held_out
        and held_out[-1] > 0.7 * traced.start_loss > 0
    ):
        return format_text(
            "损失和验证损失都没有变好", "Neither the loss nor that of validation is better than at the start"
        )
    return None


def _recurrent(traced: TracedRun) -> Text | None:
    if traced.loss_is_stuck and traced.recurrent_spread[1] > 1.3:
        return format_text("循环权重太大", "The recurrent weights are too large")
    return None


def _swallowed(traced: TracedRun) -> Text | None:
    if swallowed_share(traced) > 0.8 and _share(traced) > _HALF_BASELINE:
        return format_text(
            "从最初几步起，大多数 16 位权重就没有变", "From the first steps on most of the 16-bit weights do not change"
        )
    return None


def _units_alike(traced: TracedRun) -> Text | None:
    if traced.has_symmetric_units and (_share(traced) > _HALF_BASELINE or traced.oversized_outputs):
        return format_text("每层的各单元初始值相同", "The units of each layer began alike")
    return None


def _saturated(traced: TracedRun) -> Text | None:
    if (
        traced.most_saturated_module is not None
        and traced.most_saturated_module[1] > 0.5
        and _share(traced) > _HALF_BASELINE
    ):
        return format_text("激活从一开始就饱和", "Activations are saturated from the start")
    return None


def _misscaled(traced: TracedRun) -> Text | None:
    """The text of the harm if weights or inputs are badly scaled, the signal fades, the first update is huge, or
    post-norm blocks are trained without warm-up; else None.
    """
    share, normed, gain = _share(traced), traced.has_normalisation, traced.initial_gain or 1.0
    high_mean = (
        traced.chance_loss is not None
        and fmean(traced.losses[-len(traced.losses) // 3 :]) > _HIGH_MEAN * traced.chance_loss
    )
    if (
        traced.final_loss_over_baseline is not None
        and traced.large_first_loss
        and not traced.exceeds_mean_reduction
        and (share > _HALF_BASELINE or high_mean)
    ):
        return format_text("第一个损失远高于瞎猜", "The first loss is far above that of guessing")
    if share > _HALF_BASELINE and (
        gain > (2.5 if normed else 1.8) or (gain < 0.3 and not normed and len(traced.weights) >= 4)
    ):
        return format_text("初始权重的大小不对", "The initial weights have the wrong size")
    if share > _HALF_BASELINE and not traced.has_scaled_inputs and not normed:
        return format_text("输入没有归一化", "The inputs are not scaled")
    if share > _HALF_BASELINE and traced.input_insensitive and not traced.has_symmetric_units:
        return format_text("信号在各层里消失了", "The signal is lost on its way through the layers")
    if share > _HALF_BASELINE and (traced.first_update or 0.0) > 0.2:
        return format_text(
            "第一次更新就把权重改掉了一大半", "The first update changes the weights by a good part of their size"
        )
    if share > _HALF_BASELINE and traced.is_scale_free and post_norm(traced) and not _warmed_up(traced):
        return format_text("post-LN 没有预热", "Post-norm blocks without a warm-up")
    return None


def _overconfident(traced: TracedRun) -> Text | None:
    """The text of the harm if an accurate model's loss stays above half that of guessing, as its logits began far too
    large.
    """
    if traced.large_first_loss and not traced.exceeds_mean_reduction and _share(traced) > _HALF_BASELINE:
        return format_text(
            "输出一开始就太大：多数答对了，答错的却极有把握",
            "The outputs began far too large: most answers are right, and the wrong ones are given with certainty",
        )
    return None


def _overshot(traced: TracedRun) -> Text | None:
    if traced.oversized_outputs:
        return format_text("输出一开始就远大于目标，损失没有降到底", "The outputs began far larger than the targets")
    return None


def _accumulated(traced: TracedRun) -> Text | None:
    if (
        (traced.number("carried") or 0.0) > 0.9
        and traced.run.settings.get("optimizers") == 1
        and _share(traced) > _HALF_BASELINE
    ):
        return format_text("每一步的梯度都加在上一步的上面", "Each step adds its gradients to those of the step before")
    return None


def _warmed_up(traced: TracedRun) -> bool:
    rates = values_of(records(traced.run, "lr"))
    return not rates or rates[0] < 0.5 * max(rates)


_TESTS: tuple[Callable[[TracedRun], Text | None], ...] = (
    _near_guessing,
    _does_not_improve,
    _recurrent,
    _swallowed,
    _units_alike,
    _saturated,
    _misscaled,
    _overshot,
    _accumulated,
)
