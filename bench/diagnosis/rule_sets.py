"""Seven published rule sets, each written anew from its description, with the thresholds that it states.

Each is a function of a recorded run that returns its alarms in the order in which the tool would give them; an alarm
names one or more of our causes where the tool's own words say so. What a tool takes from elsewhere than the run
(thresholds that a user gives, source code) has its published default, or is left out.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.diagnosis.runs import RecordedRun


class Alarm(NamedTuple):
    name: str
    """The rule, as the tool calls it."""
    causes: frozenset[str] = frozenset()
    """What the tool says the cause is, in our terms; empty if it names a symptom only."""


RuleSet = Callable[[RecordedRun], list[Alarm]]


def _alarm(name: str, *causes: str) -> Alarm:
    return Alarm(name, frozenset(causes))


def _rows(run: RecordedRun, kind: str) -> list[dict[str, Any]]:
    return [row for row in run.layers if row["kind"] == kind]


def _by_layer(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    layers: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        layers.setdefault(row["layer"], []).append(row)
    return layers


def _by_step(rows: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    steps: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        steps.setdefault(row["step"], []).append(row)
    return steps


def _finite(values: Sequence[float | None]) -> bool:
    return all(value is None or math.isfinite(value) for value in values)


def _epochs(values: Sequence[float], length: int = 20) -> list[float]:
    """Means of pieces of `length` values."""
    return [
        sum(values[start : start + length]) / length for start in range(0, len(values) - length + 1, length)
    ]  # fmt: skip


def _activations(run: RecordedRun, *classes: str) -> dict[str, list[dict[str, Any]]]:
    return _by_layer([row for row in _rows(run, "module") if row["class"] in classes])


def _sagemaker_units(run: RecordedRun) -> Iterator[Alarm]:
    """The alarms of the two rules that count units over time."""
    tanh, relu = _activations(run, "Tanh", "Sigmoid").values(), _activations(run, "ReLU").values()
    if any(sum(row["above9"] for row in rows) / len(rows) > 0.5 for rows in tanh):
        yield _alarm("SaturatedActivation", "saturated_activation")
    if any(sum(row["silent"] for row in rows) / len(rows) > 0.5 for rows in relu):
        yield _alarm("DeadRelu", "dead_relu")


def sagemaker(run: RecordedRun) -> list[Alarm]:
    """The alarms of SageMaker Debugger's built-in rules with the defaults of its developer guide."""
    parameters, modules = _rows(run, "parameter"), _rows(run, "module")
    alarms = list(_sagemaker_units(run))
    if any(0 <= row.get("grad_mean", 1) < 1e-7 for row in parameters):
        alarms.append(_alarm("VanishingGradient", "vanishing_signal"))
    if not _finite(run.loss) or any(not math.isfinite(row.get("grad_mean", 0.0)) for row in parameters):
        alarms.append(_alarm("ExplodingTensor"))
    variances = [row["variance_in"] for row in modules if row["step"] == 0 and row["class"] in {"Linear", "Conv2d"}]
    falls = sum(later < sooner for sooner, later in zip(run.loss[:10], run.loss[1:11], strict=False))
    ratio = max(variances) / max(min(variances), 1e-30) if variances else 1.0
    if ratio > 10 or falls < 5:
        alarms.append(_alarm("PoorWeightInitialization", "weights_too_large", "vanishing_signal", "symmetric_init"))
    if any(row["ratio"] > 10 or row["ratio"] < 1e-8 for row in parameters):
        alarms.append(_alarm("WeightUpdateRatio", "step_too_large", "no_update"))
    if any(row["zero"] == 1 for row in modules) or any(row.get("grad_zero") == 1 for row in parameters):
        alarms.append(_alarm("AllZero"))
    if any(row["moved_mean"] <= 1e-8 + 1e-5 * row["weight_mean"] for row in parameters):
        alarms.append(_alarm("UnchangedTensor", "no_update"))
    if any(later > sooner * (1 - 1e-3) for sooner, later in itertools.pairwise(_epochs(run.loss, 10))):
        alarms.append(_alarm("LossNotDecreasing"))
    held = [loss for _, loss, _ in run.validation]
    if held and held[-1] > 1.1 * min(held):
        alarms.append(_alarm("Overfit", "overfitting"))
    return alarms


def autotrainer(run: RecordedRun) -> list[Alarm]:
    """The alarms of AutoTrainer, which looks only if the accuracy stays below 0.6; data, gradients, convergence, in
    this order.
    """
    if run.validation and (run.validation[-1][2] or 0.0) >= 0.6 and _finite(run.loss):
        return []
    alarms = []
    first = _by_step(_rows(run, "parameter"))
    modules = _rows(run, "module")
    if any(row["absmean"] >= 10 for row in modules):
        alarms.append(_alarm("improper data", "inputs_not_scaled"))
    exploding = not _finite(run.loss) or max(run.loss) >= 1e3
    vanishing = dying = False
    for rows in first.values():
        norms = [row["grad_norm"] for row in rows if "grad_norm" in row]
        if not norms:
            continue
        share = norms[0] / norms[-1] if norms[-1] else math.inf
        exploding |= not _finite(norms) or (share > 70 and share != math.inf)
        vanishing |= share < 1e-3 and norms[0] < 1e-4
        dying |= sum(row.get("grad_zero", 0.0) for row in rows) / len(rows) >= 0.7
    if exploding:
        alarms.append(_alarm("exploding gradient", "weights_too_large", "step_too_large"))
    if dying:
        alarms.append(_alarm("dying ReLU", "dead_relu"))
    if vanishing:
        alarms.append(_alarm("vanishing gradient", "vanishing_signal", "saturated_activation"))
    accuracy = _epochs([each for each in run.accuracy if each is not None])
    swings = [abs(later - sooner) for sooner, later in itertools.pairwise(accuracy)]
    if swings and sum(swing >= 0.03 for swing in swings) >= 0.2 * len(swings):
        alarms.append(_alarm("oscillating loss", "step_too_large"))
    if accuracy and accuracy[-1] - accuracy[0] < 0.01:
        alarms.append(_alarm("slow convergence", "step_too_small"))
    return alarms


def deeplocalize(run: RecordedRun) -> list[Alarm]:
    """The alarm of DeepLocalize: the first tensor that is not finite, layer by layer; "MDL" if the metric does not
    move.
    """
    for step, rows in sorted(_by_step(run.layers).items()):
        for row in rows:
            if row["kind"] == "module" and not math.isfinite(row["absmax"]):
                return [_alarm(f"forward of {row['layer']} at {step}")]
            if row["kind"] == "parameter" and not math.isfinite(row.get("grad_norm", 0.0)):
                return [_alarm(f"gradient of {row['layer']} at {step}")]
            if row["kind"] == "parameter" and not math.isfinite(row["weight_max"]):
                return [_alarm(f"weights of {row['layer']} at {step}")]
    if not _finite(run.loss):
        return [_alarm("loss")]
    metric = _epochs([each for each in run.accuracy if each is not None]) or _epochs(run.loss)
    if any(abs(later - sooner) < 1e-4 for sooner, later in itertools.pairwise(metric)):
        return [_alarm("MDL")]
    return []


def deepdiagnosis(run: RecordedRun) -> list[Alarm]:
    """The alarms of DeepDiagnosis: eight symptoms at fixed thresholds, the first of which is mapped to a fix."""
    alarms = []
    modules, parameters = _rows(run, "module"), _rows(run, "parameter")
    if not _finite(run.loss):
        alarms.append(_alarm("numerical error"))
    acts = [row for row in modules if row["class"] in {"ReLU", "Tanh", "Sigmoid", "GELU"}]
    if any(row["zero"] >= 0.7 for row in acts):
        alarms.append(_alarm("dead node", "dead_relu"))
    if any(row["above5"] > 0.5 for row in acts):
        alarms.append(_alarm("saturated activation", "saturated_activation"))
    if any(row.get("grad_mean", 1.0) < 1e-7 for row in parameters):
        alarms.append(_alarm("vanishing gradient", "vanishing_signal"))
    if any(not 1e-5 <= row["std"] ** 2 <= 10 for row in acts):
        alarms.append(_alarm("exploding tensor", "weights_too_large", "inputs_not_scaled"))
    if any(row["moved_mean"] == 0 for row in parameters):
        alarms.append(_alarm("unchanged weight", "no_update"))
    loss = _epochs(run.loss)
    if any(later >= sooner for sooner, later in itertools.pairwise(loss)):
        alarms.append(_alarm("loss not decreasing", "step_too_large", "step_too_small"))
    accuracy = _epochs([each for each in run.accuracy if each is not None])
    if any(later <= sooner for sooner, later in itertools.pairwise(accuracy)):
        alarms.append(_alarm("accuracy not increasing", "step_too_large", "step_too_small"))
    return alarms


def umlaut(run: RecordedRun) -> list[Alarm]:
    """The alarms of UMLAUT, by the heuristics that a run shows: range of inputs, learning rate, validation; not those
    on source code.
    """
    alarms = []
    least, greatest, _ = run.inputs
    if math.isnan(least) or math.isnan(greatest):
        alarms.append(_alarm("nan in input", "nonfinite_data"))
    elif least < -1 or greatest > 1:
        alarms.append(_alarm("input not normalised", "inputs_not_scaled"))
    if not _finite(run.loss):
        alarms.append(_alarm("nan in loss"))
    if run.lr > 0.01:
        alarms.append(_alarm("learning rate high", "step_too_large"))
    if run.lr < 1e-7:
        alarms.append(_alarm("learning rate low", "step_too_small"))
    held = [loss for _, loss, _ in run.validation]
    if any(later > sooner for sooner, later in itertools.pairwise(held)):
        alarms.append(_alarm("possible overfitting", "overfitting"))
    if any((accuracy or 0.0) > 0.95 for _, _, accuracy in run.validation):
        alarms.append(_alarm("validation accuracy is too high"))
    return alarms


def thedeepchecker(run: RecordedRun) -> list[Alarm]:
    """The alarms of TheDeepChecker on start, activations, gradients, updates and loss, with the thresholds of its
    settings file.
    """
    alarms = []
    modules, parameters = _rows(run, "module"), _rows(run, "parameter")
    if run.classes and not abs(run.loss[0] - math.log(run.classes)) <= 0.5 * math.log(run.classes):
        alarms.append(_alarm("unexpected initial loss", "weights_too_large", "summed_loss", "inputs_not_scaled"))
    if any(row["weight_variance"] == 0 for row in parameters if row["step"] == 0):
        alarms.append(_alarm("constant weights", "symmetric_init"))
    for rows in _activations(run, "ReLU").values():
        if any(row["silent"] > 0.5 for row in rows[3:]):
            alarms.append(_alarm("dead activations", "dead_relu"))
            break
    for rows in _activations(run, "Tanh", "Sigmoid").values():
        if any(row["above5"] > 0.85 for row in rows):
            alarms.append(_alarm("saturated activations", "saturated_activation"))
            break
    acts = [row for row in modules if row["class"] in {"ReLU", "Tanh", "Sigmoid"}]
    if any(not 0.5 <= row["std"] <= 2 for row in acts):
        alarms.append(_alarm("activations out of range"))
    alarms += _growth(_by_layer(parameters))
    if any(row["ratio"] > 0 and not -4 <= math.log10(row["ratio"]) <= -1 for row in parameters):
        alarms.append(_alarm("update scale", "step_too_large", "step_too_small"))
    loss = _epochs(run.loss)
    if any(later > 0.95 * sooner for sooner, later in itertools.pairwise(loss)):
        alarms.append(_alarm("loss not decreasing", "step_too_small"))
    if not _finite(run.loss):
        alarms.append(_alarm("diverging loss", "step_too_large"))
    return alarms


def _growth(layers: Mapping[str, list[dict[str, Any]]]) -> Iterator[Alarm]:
    """Alarms for weights or gradients that grow at least twofold, or gradients that halve below 1e-6, five checks in a
    row.
    """
    seen = set()
    for rows in layers.values():
        for five in (rows[index : index + 5] for index in range(len(rows) - 4)):
            gradients = [row.get("grad_mean", 0.0) for row in five]
            weights = [row["weight_mean"] for row in five]
            pairs = list(itertools.pairwise(gradients))
            if all(later <= 0.5 * sooner for sooner, later in pairs) and gradients[-1] < 1e-6:
                seen.add(_alarm("vanishing gradient", "vanishing_signal"))
            if all(later >= 2 * sooner > 0 for sooner, later in pairs):
                seen.add(_alarm("exploding gradient", "weights_too_large", "recurrent_product"))
            if all(later >= 2 * sooner > 0 for sooner, later in itertools.pairwise(weights)):
                seen.add(_alarm("exploding weights", "step_too_large"))
    yield from sorted(seen, key=lambda alarm: alarm.name)


def losslint(run: RecordedRun) -> list[Alarm]:
    """The alarms of losslint: the checks of its page, on the loss, the gradient norm and the validation of a log."""
    alarms = []
    norms = [norm for norm in run.grad_norm if norm is not None]
    if not _finite(run.loss) or not _finite(norms):
        alarms.append(_alarm("nan_inf"))
    losses = [loss for loss in run.loss if math.isfinite(loss)]
    tenth = max(1, len(losses) // 10)
    if losses and sum(losses[-tenth:]) > 1.2 * sum(losses[:tenth]) > 0:
        alarms.append(_alarm("divergence"))
    for index in range(5, len(losses) - 5):
        near = sorted(losses[index - 5 : index] + losses[index + 1 : index + 6])
        if losses[index] > 10 * near[5] > 0:
            alarms.append(_alarm("loss_spike"))
            break
    held = [loss for _, loss, _ in run.validation]
    if held and held[-1] > 1.05 * min(held) and losses and losses[-1] < losses[len(losses) // 2]:
        alarms.append(_alarm("overfit_onset", "overfitting"))
    quarter = max(1, len(losses) // 4)
    before, after = losses[-2 * quarter : -quarter], losses[-quarter:]
    if before and sum(after) > 0.99 * sum(before):
        alarms.append(_alarm("stagnation"))
    return alarms


RULE_SETS: Mapping[str, RuleSet] = {
    "SageMaker Debugger": sagemaker, "AutoTrainer": autotrainer, "DeepLocalize": deeplocalize,
    "DeepDiagnosis": deepdiagnosis, "UMLAUT": umlaut, "TheDeepChecker": thedeepchecker, "losslint": losslint,
}  # fmt: skip
NAMES_NO_CAUSE = frozenset({"DeepLocalize"})
"""Rule sets whose alarms point to a layer but name no cause."""
