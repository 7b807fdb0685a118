"""Rules on updates: their size relative to the weights, what they leave unchanged, the state of the optimizer."""

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

from qa_service.diagnosis.layer_rules.findings import findings, log10
from qa_service.diagnosis.layer_rules.formats import swallowed_share
from qa_service.diagnosis.layer_rules.traced_run import EARLY_STEPS, TracedRun
from qa_service.model.diagnosis import Finding


def step_size(traced: TracedRun) -> Iterator[Finding]:
    """Findings on the size of updates relative to the weights: too large at the first step, or too small all the
    time.
    """
    first = traced.first_update
    if first is None:
        return
    sound_start = (
        (not traced.large_first_loss or traced.exceeds_mean_reduction)
        and (traced.initial_gain or 1.0) < 1.8
        and traced.has_scaled_inputs
    )
    if ((traced.is_failing or traced.loss_rises) and first > 0.05) or (traced.slow_descent and first > 0.2):
        weight = min(3.0, 1.0 + 1.5 * log10(first / 0.05))
        yield from findings(
            "update_large",
            "第一次更新就把权重改变了它自身的 {0} 倍（正常的训练约为 0.001 到 0.03）",
            "the first update changed the weights by {0} of their size (0.001 to 0.03 is usual)",
            first,
            step_too_large=weight if sound_start else 0.3 * weight,
            step_too_small=-4.0,
        )
    elif traced.is_failing and first < 3e-3 and not traced.rate_rises:
        yield from findings(
            "update_small",
            "第一次更新只把权重改变了它自身的 {0} 倍",
            "the first update changed the weights by only {0} of their size",
            first,
            step_too_large=-1.5,
        )
    yield from _too_small(traced)


def _too_small(traced: TracedRun) -> Iterator[Finding]:
    largest, steps = traced.largest_update, traced.number("steps")
    if (
        not largest
        or not steps
        or traced.loss_is_nonfinite
        or not traced.slow_descent
        or traced.rate_rises
        or steps < 40
    ):
        return
    way = largest * steps
    if way > 1 and traced.last_loss > 0.9 * traced.start_loss:
        yield from findings(
            "weights_move_far",
            "{0} 步里权重能走的路是自身大小的 {1} 倍：步子不小",
            "in {0} steps a weight can have moved by {1} times its size: the steps are not small",
            steps,
            way,
            step_too_small=-2.5,
            no_update=-1.5,
        )
    elif way < 0.05 and not swallowed_share(traced):
        yield from findings(
            "weights_hardly_move",
            "{0} 步里每个权重最多只走了自身大小的 {1} 倍：步子太小，还没有学到东西",
            "in {0} steps no weight can have moved by more than {1} of its size: too little to learn",
            steps,
            way,
            step_too_small=3.5 if way < 0.02 else 2.0,
            chance_labels=-1.5,
        )


def loss_after_rate_jump(traced: TracedRun) -> Iterator[Finding]:
    """Findings on a learning rate that jumps more than fourfold in a run that had not diverged, after which the loss
    gets worse.
    """
    rates = {each.step: each.value for each in traced.run.series.get("lr", ()) if each.step is not None}
    losses = [(each.step or 0, each.value) for each in traced.run.series.get("loss", ())]
    for (_, before), (step, after) in pairwise(sorted(rates.items())):
        if step <= EARLY_STEPS or not 0 < 4 * before < after:
            continue
        earlier = [value for at, value in losses if at < step][-10:]
        later = [value for at, value in losses if at >= step][:30]
        if not earlier or not later or not all(map(math.isfinite, earlier)):
            continue
        worse = not all(map(math.isfinite, later)) or median(later) > 1.5 * median(earlier)
        if worse and median(earlier) < 1.05 * traced.start_loss:
            yield from findings(
                "worse_since_rate_jumped",
                "学习率在第 {0} 步一下子变成 {1} 倍，损失从那里起变坏，之前没有升",
                "at step {0} the learning rate leaps to {1} times what it was; the loss had not risen, and is "
                "worse from there on",
                step,
                after / before,
                step=step,
                no_warmup=5.5,
                step_too_large=-1.5,
                bad_batches=-2.0,
            )
            return


def clipping(traced: TracedRun) -> Iterator[Finding]:
    """Findings on gradients clipped while they still carry the loss scale."""
    event = next((each for each in traced.run.events if each.name == "clip_before_unscale"), None)
    if event is not None:
        yield from findings(
            "clipped_while_scaled",
            "裁剪梯度时还没有除以损失缩放因子：实际的裁剪阈值小了这么多倍",
            "gradients are clipped before they are divided by the loss scale: the limit is that much too small",
            step=event.step,
            clip_before_unscale=4.5,
            step_too_small=-1.5,
        )


def stale_state(traced: TracedRun) -> Iterator[Finding]:
    """Findings on Adam's state: nan in it, or updates larger than an up-to-date second moment allows."""
    if not traced.is_scale_free:
        return
    event = next((each for each in traced.run.events if each.name == "bad_state"), None)
    alarm = next((each for each in traced.run.events if each.name == "alarm_loss"), None)
    weights_bad = alarm is not None and "not finite" in alarm.text
    if event is not None and not weights_bad and traced.loss_is_nonfinite:
        yield from findings(
            "state_not_finite",
            "优化器的状态里已经有 nan 或 inf，权重还是有限的",
            "the optimizer's state holds nan or inf while the weights are finite",
            step=event.step,
            adam_stale=3.5,
        )
    yield from _beyond_rate(traced)


def _beyond_rate(traced: TracedRun) -> Iterator[Finding]:
    """Findings on updates beyond the learning rate, with a spike of the loss near them."""
    losses = traced.run.series.get("loss", ())
    rates = {record.step: record.value for record in traced.run.series.get("lr", ())}
    for step in sorted(traced.parameters):
        before = [each.value for each in losses if (each.step or 0) < step][-50:]
        near = [each.value for each in losses if step <= (each.step or 0) < step + 20]
        if len(before) < 20 or max(near, default=0.0) < 10 * median(before):
            continue
        sizes = traced.column(step, "update_rms")
        rate = rates.get(step)
        if (
            step > 4 * EARLY_STEPS
            and rate
            and sizes
            and max(sizes) > 2.5 * rate
            and "Adam" in str(traced.run.settings["optimizer"])
        ):
            yield from findings(
                "update_beyond_rate",
                "第 {0} 步的更新是学习率的 {1} 倍：梯度突然变大，而二阶矩还停在旧值",
                "at step {0} the update is {1} times the learning rate: the gradient has jumped, and the second moment "
                "is still the old one",
                step,
                max(sizes) / rate,
                step=step,
                adam_stale=2.0,
            )
            return


def accumulation(traced: TracedRun) -> Iterator[Finding]:
    """Findings on gradients of the previous step that are not cleared before the backward pass."""
    carried = traced.number("carried")
    if carried is None or traced.run.settings.get("optimizers") != 1:
        return
    if carried > 0.9:
        yield from findings(
            "gradients_not_zeroed",
            "每次反向传播前，上一步用过的梯度还在：没有调用 zero_grad",
            "before each backward pass the gradients of the step before are still there: zero_grad is missing",
            gradients_accumulate=6.5,
            step_too_large=-2.5,
        )
    elif carried < 0.1:
        yield from findings(
            "gradients_zeroed",
            "每步之前梯度都清零了",
            "the gradients are set to zero before each step",
            gradients_accumulate=-5.0,
        )


def no_update(traced: TracedRun) -> Iterator[Finding]:
    """Findings on weights that no update reaches."""
    if not traced.loss_is_stuck and not traced.slow_descent:
        return
    trained = [facts for facts in traced.facts.values() if facts["trained"] > 0]
    size = math.fsum(facts["size"] for facts in trained)
    free = [name for name, facts in traced.facts.items() if facts["trained"] > 0 and facts["held"] == 0]
    missing = math.fsum(traced.facts[name]["size"] for name in free)
    if traced.number("optimizers") and size and missing > 0.3 * size:
        yield from findings(
            "not_in_optimizer",
            "优化器里没有 {layer} 等参数，占可训练参数的 {0}%",
            "the optimizer does not hold {layer} and others, {0} % of the trained parameters",
            100 * missing / size,
            layer=free[0],
            no_update=5.0,
            step_too_small=-3.0,
        )
    moves = [each for step in traced.parameters for each in traced.column(step, "update_rms")]
    gradients = [each for step in traced.parameters for each in traced.column(step, "grad_rms")]
    if moves and not any(moves) and any(gradients):
        half = any(facts["bits"] == 16 for facts in trained)
        yield from findings(
            "weights_unchanged",
            "梯度不为零，但所有权重逐位不变",
            "no weight changes by a single bit, though the gradients are not 0",
            update_swallowed=2.0 if half else 0.0,
            no_update=0.0 if half else 3.5,
        )
    elif moves and any(moves):
        yield from findings("weights_change", "权重在变", "the weights do change", no_update=-2.5 if not free else 0.0)
    if (
        traced.number("steps")
        and not traced.parameters
        and traced.run.series.get("loss")
        and traced.number("optimizers")
    ):
        yield from findings(
            "step_never_called", "优化器的 step 从未被调用", "the optimizer's step is never called", no_update=4.0
        )


def adam_eps(traced: TracedRun) -> Iterator[Finding]:
    """Findings on an eps that float16 rounds to 0."""
    eps = traced.number("eps")
    pure = [facts for facts in traced.facts.values() if facts["bits"] == 16 and not facts["bfloat16"]]
    if pure and traced.is_scale_free and eps is not None and 0 < eps < 2.0**-25 and traced.loss_is_nonfinite:
        yield from findings(
            "eps_below_float16",
            "权重是 float16，而优化器的 eps = {0} 在 float16 里就是零：梯度为零时成了 0/0",
            "the weights are float16, in which the optimizer's eps {0} is 0: where the gradient is 0 too, the update "
            "is 0/0",
            eps,
            eps_lost=4.0
            if traced.first_nonfinite_weight_step is None or traced.first_bad_gradient_step is not None
            else 6.0,
        )
