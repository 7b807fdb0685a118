"""Rules on number formats: what float16 and bfloat16 cannot hold."""

import math
from collections.abc import Iterator
from statistics import median

from qa_service.diagnosis.layer_rules.findings import findings
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding

_FLOAT16_MAX = 65504.0


def overflow(traced: TracedRun) -> Iterator[Finding]:
    """Findings on the largest output of a layer, compared with the largest float16."""
    if not traced.uses_float16 or not (traced.loss_is_nonfinite or traced.skips_updates):
        return
    largest = (0.0, "", 0)
    for step, modules in traced.modules.items():
        if traced.first_nonfinite_weight_step is not None and step >= traced.first_nonfinite_weight_step:
            continue  # outputs of weights that are nan are no overflow
        for name, values in modules.items():
            for key in ("max", "in_max"):
                value = values.get(key, 0.0)
                value = math.inf if math.isnan(value) else value
                if name and value > largest[0]:
                    largest = (value, name, step)
    if largest[0] > _FLOAT16_MAX / 4:
        yield from findings(
            "near_float16_limit",
            "{layer} 的输出到了 {0}，float16 最大只有 65504",
            "the output of {layer} reaches {0}; float16 ends at 65504",
            largest[0],
            step=largest[2],
            layer=largest[1],
            forward_overflow=4.5 if largest[0] > _FLOAT16_MAX else 3.0,
            loss_scale_collapse=0.5,
        )
    elif 0 < largest[0] < _FLOAT16_MAX / 256:
        yield from findings(
            "far_from_float16_limit",
            "各层输出最大 {0}，离 float16 的上限还远",
            "the largest output of a layer is {0}, far from the end of float16",
            largest[0],
            forward_overflow=-1.5,
        )


def underflow(traced: TracedRun) -> Iterator[Finding]:
    """Findings on gradients that float16 rounds to zero."""
    if (
        not traced.uses_float16
        or traced.run.settings.get("scaler")
        or not traced.slow_descent
        or traced.loss_is_nonfinite
    ):
        return
    lost = [
        each.get("zero", 0.0) + (1 - each.get("zero", 0.0)) * each.get("tiny", 0.0)
        for step in traced.early_steps
        for name, each in traced.parameters[step].items()
        if name in traced.weights and each.get("grad_max", 1.0) < 2.0**-14
    ]
    if len(lost) >= 0.3 * len(traced.early_steps) * len(traced.weights) > 0:
        yield from findings(
            "gradient_below_float16",
            "没有损失缩放；多数权重的最大梯度低于 float16 的最小正规数 6×10⁻⁵，{0}% 的梯度是零或几乎丢失",
            "without loss scaling: most weights' largest gradient is below float16's normal range, and {0} % of the "
            "gradients are 0 or nearly so",
            100 * median(lost),
            gradient_underflow=5.0 if traced.gradient_zero else 3.5,
            vanishing_signal=-2.5 if traced.gradient_zero else -0.5,
        )


def swallowed_share(traced: TracedRun) -> float:
    """The median share of 16-bit weights with a gradient that early updates left unchanged."""
    names = [name for name in traced.weights if traced.facts[name]["bits"] == 16]
    shares = [each for step in traced.early_steps for each in traced.column(step, "unchanged", names)]
    return median(shares) if shares else 0.0


def swallowed(traced: TracedRun) -> Iterator[Finding]:
    """Findings on updates smaller than half a unit in the last place of 16-bit weights, already at the first steps."""
    share = swallowed_share(traced)
    if share > 0.5 and (traced.slow_descent or (share > 0.8 and traced.above_half_baseline)):
        yield from findings(
            "updates_swallowed_early",
            "最初几步就有 {0}% 的 16 位权重没有变，虽然梯度不为零：更新小于末位的一半",
            "already in the first steps, {0} % of the 16-bit weights stay as they are though their gradient is not 0: "
            "the updates are below half a unit in the last place",
            100 * share,
            update_swallowed=4.0 if share > 0.8 else 2.5,
            step_too_small=-1.0,
            no_update=-2.0,
        )
    elif traced.is_failing and traced.facts and all(facts["bits"] >= 32 for facts in traced.facts.values()):
        yield from findings("weights_have_32_bits", "权重是 32 位的", "the weights have 32 bits", update_swallowed=-4.0)
