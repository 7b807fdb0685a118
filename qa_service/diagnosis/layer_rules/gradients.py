"""Rules on gradients: on their way through layers and through time, and where they alone are not finite."""

import math
from collections.abc import Iterator
from statistics import median

from qa_service.diagnosis.layer_rules.findings import findings
from qa_service.diagnosis.layer_rules.traced_run import EARLY_STEPS, RECURRENT_CLASSES, TracedRun
from qa_service.model.diagnosis import Finding


def vanishing(traced: TracedRun) -> Iterator[Finding]:
    """Findings on gradients of the first layers, compared with what the optimizer needs to move them.

    SGD moves a layer in proportion to its gradient; Adam moves it all the same, until the gradient meets its eps.
    """
    if traced.gradient_zero:
        return  # zero in the last layer too: the gradient does not vanish on the way, the loss has none
    if (
        not traced.loss_is_stuck
        or traced.has_symmetric_units
        or len(traced.weights) < 4
        or not traced.early_steps
        or traced.initial_dead_unit_share[1] > 0.9
    ):
        return
    first = traced.weights[: max(1, len(traced.weights) // 4)]
    last = traced.weights[-1:]
    if traced.is_scale_free:
        gradients = [each for step in traced.early_steps for each in traced.column(step, "grad_rms", first)]
        eps = traced.number("eps") or 1e-8
        if gradients and median(gradients) < 30 * eps:
            yield from findings(
                "gradient_below_eps",
                "前几层的梯度只有 {0}，与 Adam 的 eps = {1} 相当：它们几乎不动",
                "the gradients of the first layers, {0}, are no larger than Adam's eps {1} allows: they hardly move",
                median(gradients),
                eps,
                layer=first[0],
                vanishing_signal=3.0,
            )
        return
    steps = traced.number("steps") or 0.0
    ratios = [each for step in traced.early_steps for each in traced.column(step, "update_ratio", first)]
    others = [each for step in traced.early_steps for each in traced.column(step, "update_ratio", last)]
    if ratios and others and median(others) > 0 and median(ratios) < 1e-2 * median(others):
        way = median(ratios) * steps
        if way < 0.02:
            saturated = traced.most_saturated_module is not None and traced.most_saturated_module[1] > 0.5
            yield from findings(
                "first_layers_do_not_move",
                "{layer} 每步只改变自身的 {0} 倍，最后一层是 {1} 倍：梯度传不到前面",
                "{layer} changes by {0} of its size per step, the last layer by {1}: the gradient does not reach it",
                median(ratios),
                median(others),
                layer=first[0],
                vanishing_signal=0.5 if saturated else 3.0,
                step_too_small=-1.5,
                chance_labels=-1.5,
            )


def recurrence(traced: TracedRun) -> Iterator[Finding]:
    """Findings on the gradient on its way back through time."""
    if not traced.is_failing:
        return
    for name, values in traced.first_sampled_modules.items():
        first, last = values.get("grad_time_first"), values.get("grad_time_last")
        steps = values.get("time_steps", values.get("calls", 0.0))
        if first is None and values.get("calls", 0) >= 8:
            first, last = values.get("grad"), values.get("grad_last")
        recurrent = traced.run.module_classes.get(name, "") in RECURRENT_CLASSES
        if first and last and steps > 4 and math.isfinite(first) and math.isfinite(last):
            yield from _through_time(traced, name, first / last, steps)
        elif recurrent and steps >= 20 and traced.loss_is_stuck:
            yield from findings(
                "long_sequence",
                "循环层 {layer} 要把梯度传过 {0} 个时间步",
                "the recurrent layer {layer} carries its gradient through {0} time steps",
                steps,
                layer=name,
                recurrent_product=1.5,
            )
    name, spread = traced.recurrent_spread
    if spread > 1.3:
        yield from findings(
            "recurrent_weights_large",
            "循环权重 {layer} 的谱半径约为 {0}：每个时间步都乘上它",
            "the recurrent weights {layer} have a spectral radius of about {0}, a factor of every time step",
            spread,
            layer=name,
            recurrent_product=3.0,
            step_too_large=-0.5,
        )


def _through_time(traced: TracedRun, name: str, ratio: float, steps: float) -> Iterator[Finding]:
    factor = ratio ** (1 / (steps - 1))
    if ratio > 100:
        yield from findings(
            "gradient_grows_through_time",
            "梯度往回每过一个时间步变成 {0} 倍，{1} 步共 {2} 倍",
            "the gradient grows {0}-fold with each time step back, {2}-fold over {1}",
            factor,
            steps,
            ratio,
            layer=name,
            recurrent_product=3.0,
        )
    elif ratio < 1e-6 and traced.loss_is_stuck:
        yield from findings(
            "gradient_fades_through_time",
            "梯度往回每过一个时间步只剩 {0} 倍，{1} 步后是 {2} 倍",
            "the gradient shrinks to {0} with each time step back, to {2} over {1}",
            factor,
            steps,
            ratio,
            layer=name,
            recurrent_product=2.5,
        )


_SINGULAR = {
    "Sqrt", "Norm", "LinalgVectorNorm", "Acos", "Asin", "Acosh", "Atanh", "Cdist", "EuclideanDist", "Rsqrt", "Std",
    "Var",
    "StdMean", "VarMean", "Atan2",
}  # fmt: skip
"""Operations whose derivative has no bound at some point, as the graph of a loss names them."""


_LOGARITHMS = {"Log", "Log2", "Log10", "Log1P", "Xlogy"}
_HAZARDS = _SINGULAR | _LOGARITHMS | {"Div", "Pow", "Exp", "Reciprocal"}
"""Operations that can make a gradient of inf or nan from finite numbers."""


def nonfinite_gradient_of_finite_loss(traced: TracedRun) -> Iterator[Finding]:
    """Findings on a non-finite gradient of a finite loss: which operations of the loss can cause it, if any."""
    names = str(traced.run.settings.get("operations", "")).split()
    if traced.first_bad_gradient_step is None or not traced.loss_is_nonfinite or not names or traced.uses_float16:
        return
    hazards = [each for each in names if each in _HAZARDS]
    masked = "Where" in names and bool(hazards)
    logarithm, singular = bool(_LOGARITHMS & set(hazards)), bool(_SINGULAR & set(hazards))
    stateful = traced.has_optimizer_state
    yield from findings(
        "gradient_only_nan_where" if masked else "gradient_only_nan",
        "第 {0} 步损失有限，梯度不是；损失的计算图里这类算子有："
        + ("、".join(dict.fromkeys(hazards)) or "没有")
        + ("，外面还有 Where" if masked else ""),
        "at step {0} the loss is finite and the gradient is not; operations of the loss whose derivative has no bound: "
        + (", ".join(dict.fromkeys(hazards)) or "none")
        + (", and Where about them" if masked else ""),
        traced.first_bad_gradient_step,
        step=traced.first_bad_gradient_step,
        where_backward=4.5 if masked else -4.0,
        gradient_at_zero=-1.0 if masked else 2.5 if singular else 0.5 if "Pow" in hazards else -4.0,
        log_of_zero=-1.0 if masked else 3.5 if logarithm else -4.0,
        zero_over_zero=-1.0 if masked else 1.0 if "Div" in hazards else -3.0,
        adam_stale=4.0 if not hazards and stateful and traced.first_bad_gradient_step > EARLY_STEPS else -1.0,
        step_too_large=-3.0,
        nonfinite_data=-2.0,
    )
