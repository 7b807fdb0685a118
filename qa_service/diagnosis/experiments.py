"""The reduced experiment of a cause at the reader's numbers, and what the cure changes in it.

A parameter comes from the run only if the run shows it; all others keep the experiment's own values. Values outside an
experiment's range are moved to its nearest end.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from qa_service.diagnosis.curves import (
    finite_records,
    is_adaptive,
    number_setting,
    rate_at,
    records,
    rising_tail,
    step_span,
    uses_bfloat16,
    uses_float16,
    values_of,
)
from qa_service.diagnosis.growth_rules import critical_rate
from qa_service.diagnosis.schedule_rules import turning_point
from qa_service.model.diagnosis import Reproduction
from qa_service.model.training_run import TrainingRun
from qa_service.model.values import Value


@dataclass(slots=True)
class _Plan:
    """Parameters of an experiment as they are collected."""

    experiment: str
    params: dict[str, Value] = field(default_factory=dict)
    cured: dict[str, Value] = field(default_factory=dict)
    from_run: list[str] = field(default_factory=list)

    def take(self, name: str, value: float | None, low: float, high: float, *, whole: bool = False) -> "_Plan":
        """Sets a parameter to a number of the run, moved into its range; leaves it alone if the run shows none."""
        if value is not None and math.isfinite(value):
            inside = min(max(value, low), high)
            self.params[name] = round(inside) if whole else float(inside)
            self.from_run.append(name)
        return self

    def done(self) -> Reproduction:
        return Reproduction(
            experiment=self.experiment, params=self.params, cured=self.cured, from_run=tuple(self.from_run)
        )


def experiment_of(cause: str, run: TrainingRun) -> Reproduction | None:
    """The experiment of a cause at this run's numbers; None for a cause that no experiment shows."""
    plan = _PLANS.get(cause)
    return plan(run).done() if plan else None


def _rate(run: TrainingRun) -> float | None:
    """The learning rate at the turning point of the run (see `turning_point`); None if it is not shown, or 0."""
    rate = rate_at(run, turning_point(run))
    return rate if rate and math.isfinite(rate) and rate > 0 else None


def _steps(run: TrainingRun) -> float | None:
    span = step_span(records(run, "loss"))
    return float(span) if span else None


def _batch(run: TrainingRun) -> float | None:
    return number_setting(run, "batch_size")


def _scale(run: TrainingRun) -> float | None:
    scales = finite_records(records(run, "loss_scale"))
    return scales[0].value if scales else None


def _step_too_large(run: TrainingRun) -> _Plan:
    plan = _Plan("quad_gd")
    critical = critical_rate(run)
    if critical is not None:
        plan.take("lr", critical[0], 1e-12, 1e6).take("lam", critical[1], 0, 1e6)
        plan.cured["lr"] = min(critical[2] / 2, 1e6)
        return plan
    rate = _rate(run)
    plan.take("lr", rate, 1e-6, 1e6)
    tail = rising_tail(finite_records(records(run, "loss")))
    lr = float(plan.params.get("lr", 2.5))
    curvature = 2.5 / lr  # grows by 1.5 a step
    if len(tail) > 1 and tail[-2].value > 0 and is_adaptive(run) is False:
        curvature = (1 + math.sqrt(min(tail[-1].value / tail[-2].value, 1e6))) / lr
    plan.params["lam"] = min(curvature, 1e6)
    plan.params["lr"] = lr
    plan.cured["lr"] = lr / 10
    return plan


def _step_too_small(run: TrainingRun) -> _Plan:
    plan = _Plan("quad_gd").take("lr", _rate(run), 0, 1).take("n", _steps(run), 1, 10000, whole=True)
    lr = float(plan.params.setdefault("lr", 1e-6))
    plan.cured["lr"] = min(max(100 * lr, 0.01), 1.0)
    return plan


def _no_warmup(run: TrainingRun) -> _Plan:
    if any(event.kind == "restart" for event in run.events):
        plan = _Plan("resume_run", {"case": "both"}, {"case": "complete"})
        return plan.take("lr", _rate(run), 1e-6, 1)
    plan = _Plan("adam_first_steps", {"warm": 1}, {"warm": 200})
    return plan.take("n", _steps(run), 2, 2000, whole=True)


def _bad_batches(run: TrainingRun) -> _Plan:
    plan = _Plan("clip_threshold", {"quantile": 1.0}, {"quantile": 0.9})
    values = values_of(finite_records(records(run, "grad_norm"))) or values_of(finite_records(records(run, "loss")))
    usual = median(values) if values else 0.0
    plan.take("spike", max(values) / usual if usual > 0 else None, 1, 10000)
    return plan.take("batch", _batch(run), 1, 256, whole=True)


def _adam_stale(run: TrainingRun) -> _Plan:
    norms = records(run, "grad_norm")
    if any(not math.isfinite(point.value) for point in norms):
        plan = _Plan("bad_gradient", {"x": math.inf, "optimizer": "adam", "handling": "apply"}, {"handling": "skip"})
        return plan.take("lr", _rate(run), 0, 10)
    plan = _Plan("adam_late_spike", {"beta2": 0.999}, {"beta2": 0.95})
    turn = turning_point(run)
    plan.take("quiet", turn.step if turn and turn.step else None, 1, 6000, whole=True)
    values = values_of(finite_records(norms))
    usual = median(values) if values else 0.0
    return plan.take("x", max(values) / usual if usual > 0 else None, 0.01, 1e6)


def _accumulated(run: TrainingRun) -> _Plan:
    plan = _Plan("gradient_accumulation", {"case": "no_zero"}, {"case": "right"})
    return plan.take("lr", _rate(run), 1e-6, 10).take("n", _steps(run), 1, 300, whole=True)


def _triage(case: str) -> Callable[[TrainingRun], _Plan]:
    def plan(run: TrainingRun) -> _Plan:
        made = _Plan("chance_triage", {"case": case}, {"case": "none"})
        return made.take("classes", number_setting(run, "classes"), 2, 10, whole=True)

    return plan


def _weights(run: TrainingRun) -> _Plan:
    return _Plan("init_scale", {"scale": 10.0}, {"scale": 1.0}).take("lr", _rate(run), 0, 1e6)


def _vanishing(run: TrainingRun) -> _Plan:
    plan = _Plan("flat_when_small", {"act": "sigmoid", "gain": 1.0}, {"act": "relu", "gain": math.sqrt(2)})
    return plan.take("lr", _rate(run), 0, 100).take("n", _steps(run), 1, 500, whole=True)


def _saturated(run: TrainingRun) -> _Plan:
    plan = _Plan("grad_by_activation", {"act": "sigmoid"}, {"act": "relu"})
    return plan.take("batch", _batch(run), 1, 256, whole=True)


def _dead(run: TrainingRun) -> _Plan:
    plan = _Plan("dead_relu", {"bias": -3.0, "act": "relu"}, {"act": "leaky"})
    return plan.take("batch", _batch(run), 1, 512, whole=True)


def _symmetric(run: TrainingRun) -> _Plan:
    plan = _Plan("init_recipe", {"init": "fixed_std", "std": 0.0}, {"init": "kaiming"})
    return plan.take("batch", _batch(run), 2, 128, whole=True)


def _recurrent(run: TrainingRun) -> _Plan:
    plan = _Plan("rnn_vs_lstm", {"w_scale": 4.0}, {"w_scale": 1.0})
    return plan.take("n", number_setting(run, "sequence_length"), 1, 500, whole=True)


def _batch_norm(run: TrainingRun) -> _Plan:
    batch = _batch(run)
    if batch is not None and batch <= 4:
        return _Plan("bn_stats", {}, {"batch": 64}).take("batch", batch, 1, 512, whole=True)
    plan = _Plan("bn_train_eval", {"momentum": 0.001}, {"momentum": 0.1}).take("batch", batch, 2, 256, whole=True)
    return plan.take("n", _steps(run), 0, 600, whole=True)


def _summed(run: TrainingRun) -> _Plan:
    return _Plan("grad_norm_patterns", {"case": "sum"}, {"case": "healthy"}).take(
        "batch", _batch(run), 1, 512, whole=True
    )


def _inputs(run: TrainingRun) -> _Plan:
    plan = _Plan("input_scale", {"scale": 255.0}, {"scale": 1.0}).take("lr", _rate(run), 0, 1e12)
    return plan.take("batch", _batch(run), 1, 512, whole=True)


def _nan_data(run: TrainingRun) -> _Plan:
    plan = _Plan("nan_in_batch", {"x": math.nan, "drop": False}, {"drop": True})
    return plan.take("batch", _batch(run), 3, 512, whole=True)


def _source(cause: str) -> Callable[[TrainingRun], _Plan]:
    def plan(run: TrainingRun) -> _Plan:
        return _Plan("nan_sources", {"cause": cause}, {"cause": "none"}).take("lr", _rate(run), 0, 1e6)

    return plan


def _output(way: str) -> Callable[[TrainingRun], _Plan]:
    def plan(run: TrainingRun) -> _Plan:
        made = _Plan("bce_activation", {"way": way}, {"way": "logits"}).take("lr", _rate(run), 0, 10)
        return made.take("n", _steps(run), 1, 500, whole=True)

    return plan


def _eps(run: TrainingRun) -> _Plan:
    plan = _Plan("adam_eps", {"eps": 1e-8, "dtype": "float16"}, {"eps": 1e-4})
    if uses_float16(run):
        plan.from_run.append("dtype")
    elif uses_bfloat16(run):
        plan.params["dtype"] = "bfloat16"
        plan.from_run.append("dtype")
    return plan


def _mask(run: TrainingRun) -> _Plan:
    plan = _Plan("masked_softmax", {"n": 8, "masked": 8, "fill": "inf"}, {"fill": "zero_row"})
    if uses_float16(run):
        plan.params["dtype"] = "float16"
        plan.from_run.append("dtype")
    return plan


def _scaler(params: Mapping[str, Value], cured: Mapping[str, Value]) -> Callable[[TrainingRun], _Plan]:
    def plan(run: TrainingRun) -> _Plan:
        made = _Plan("dynamic_loss_scale", dict(params), dict(cured)).take("scale", _scale(run), 1, 1e9)
        made.take("growth_interval", number_setting(run, "growth_interval"), 1, 1000, whole=True)
        return made.take("clip", number_setting(run, "clip"), 0, 1e6).take("lr", _rate(run), 0, 10)

    return plan


def _underflow(run: TrainingRun) -> _Plan:
    norms = [value for value in values_of(finite_records(records(run, "grad_norm"))) if value > 0]
    plan = _Plan("loss_scaling", {"scale": 1.0, "dtype": "float16", "x": 1e-8}, {"scale": 65536.0})
    return plan.take("x", median(norms) if norms and median(norms) < 1e-4 else None, 1e-30, 1)


def _swallowed(run: TrainingRun) -> _Plan:
    plan = _Plan("rounded_updates", {"start": 1.0, "dtype": "bfloat16", "x": -1e-4}, {"dtype": "float32"})
    if uses_float16(run):
        plan.params["dtype"] = "float16"
    if uses_float16(run) or uses_bfloat16(run):
        plan.from_run.append("dtype")
    rate = _rate(run)
    return plan.take("x", -rate if rate and is_adaptive(run) else None, -1000, 0).take(
        "n", _steps(run), 1, 20000, whole=True
    )


def _hidden(run: TrainingRun) -> _Plan:
    plan = _Plan("nan_filter_log", {"case": "poisoned", "keep_nan": False}, {"keep_nan": True})
    steps = [point.step for point in records(run, "loss") if point.step is not None]
    every = steps[1] - steps[0] if len(steps) > 1 and steps[1] > steps[0] else None
    return plan.take("every", every, 1, 40, whole=True)


_FORWARD_SCALE = 1e4  # of the activations, at which the experiment's forward pass leaves float16
_PLANS: Mapping[str, Callable[[TrainingRun], _Plan]] = {
    "step_too_large": _step_too_large, "step_too_small": _step_too_small, "no_warmup": _no_warmup,
    "bad_batches": _bad_batches, "adam_stale": _adam_stale, "gradients_accumulate": _accumulated,
    "no_update": _triage("frozen"), "chance_labels": _triage("shuffled_labels"), "weights_too_large": _weights,
    "vanishing_signal": _vanishing, "saturated_activation": _saturated, "dead_relu": _dead,
    "symmetric_init": _symmetric, "recurrent_product": _recurrent, "batch_norm": _batch_norm,
    "summed_loss": _summed, "inputs_not_scaled": _inputs, "nonfinite_data": _nan_data,
    "bad_labels": _source("all_ignored"), "log_of_zero": _source("log_of_zero"),
    "gradient_at_zero": _source("sqrt_at_zero"), "zero_over_zero": _source("empty_mask"),
    "wrong_output": _output("double_sigmoid"), "loss_clipped": _output("relu"), "eps_lost": _eps,
    "empty_attention_row": _mask,
    "where_backward": lambda _: _Plan("nan_causes", {"safe": False}, {"safe": True}),
    "forward_overflow": _scaler({"act_scale": _FORWARD_SCALE}, {"act_scale": 1.0}),
    "loss_scale_collapse": _scaler({"act_scale": _FORWARD_SCALE}, {"act_scale": 1.0}),
    "clip_before_unscale": _scaler({"clip": 1.0, "unscale_first": False}, {"unscale_first": True}),
    "gradient_underflow": _underflow, "update_swallowed": _swallowed, "hidden_nan": _hidden,
    "hardware": lambda _: _Plan("two_devices", {"case": "bit_flip"}, {"case": "order"}),
}  # fmt: skip
