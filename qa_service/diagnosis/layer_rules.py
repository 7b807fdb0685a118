"""Rules on what was measured inside a run: in its layers, its updates, the graph of its loss. Without a trace, silent.

A share or a size alone is no evidence: a sound network has layers with 80 % zeros, updates that bfloat16 swallows near
the minimum, gradients that shrink a millionfold. So a rule compares with what the architecture and the optimizer give,
asks what holds from the first steps on or for a unit over a window, and, unless it reads the cause itself (a loss that
is summed, gradients that were never set to zero), speaks only of a run that does not get on.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from statistics import median

from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingRun
from qa_service.model.values import Text
from qa_service.presentation.numbers import format_in_text

Values = Mapping[str, float]
_SCALE_FREE = ("adam", "lion", "lamb", "adafactor", "rmsprop", "adagrad", "muon")
"""Parts of the names of optimizers whose updates do not depend on the scale of the gradients."""
_RECTIFIERS = ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "GELU", "SiLU", "Softplus")
_RECURRENT = ("RNN", "LSTM", "GRU")
_HE = math.sqrt(2)
_FLOAT16_MAX = 65504.0
_EARLY = 16
"""Steps that count as the beginning."""


class Case:
    """A recorded run, with what the rules ask of it."""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.facts: dict[str, Values] = {}
        """Parameter → what it was before the first step."""
        self.parameters: dict[int, dict[str, Values]] = {}
        """Step → parameter → its statistics."""
        self.modules: dict[int, dict[str, Values]] = {}
        for record in run.layers:
            if record.step < 0:
                self.facts[record.layer] = record.values
            elif record.kind == "parameter":
                self.parameters.setdefault(record.step, {})[record.layer] = record.values
            else:
                self.modules.setdefault(record.step, {})[record.layer] = record.values
        self.weights = [name for name in self.facts if self._is_weight(name)]
        """Trained weight matrices and kernels, in the order of the model."""

    def _is_weight(self, name: str) -> bool:
        facts = self.facts[name]
        kind = self.class_of(name)
        skipped = ("Embedding", "Norm", *_RECURRENT)
        return facts["dimensions"] >= 2 and facts["trained"] > 0 and not any(each in kind for each in skipped)

    def class_of(self, parameter: str) -> str:
        """The class of the module that holds a parameter."""
        return self.run.module_classes.get(parameter.rpartition(".")[0], "")

    def number(self, key: str) -> float | None:
        """A setting that is a number."""
        value = self.run.settings.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @cached_property
    def losses(self) -> list[float]:
        """The losses in their order."""
        return [record.value for record in self.run.series.get("loss", ())]

    @cached_property
    def first_loss(self) -> float:
        """That of the first step; nan without one."""
        return self.losses[0] if self.losses else math.nan

    @cached_property
    def last_loss(self) -> float:
        """The median of the last tenth, of 5 at least; nan if they are not finite."""
        tail = self.losses[-max(5, len(self.losses) // 10) :]
        return median(tail) if tail and all(map(math.isfinite, tail)) else math.nan

    @cached_property
    def chance(self) -> float | None:
        """The loss of equal probabilities, where the loss is a cross-entropy."""
        classes = self.number("classes")
        return math.log(classes) if classes and classes > 1 and self.run.settings.get("loss") == "NllLoss" else None

    @cached_property
    def nonfinite(self) -> bool:
        """Whether the loss ends in nan or inf."""
        return bool(self.losses) and math.isnan(self.last_loss)

    @cached_property
    def start_loss(self) -> float:
        """The median of the first five losses; not much more than the first, if the loss shoots up at once."""
        if not self.losses:
            return math.nan
        return min(median(self.losses[:5]), 1.1 * self.losses[0])

    @cached_property
    def stuck(self) -> bool:
        """Whether the loss has hardly fallen, or lies no better than chance."""
        if self.nonfinite or len(self.losses) < 20:
            return False
        at_chance = self.chance is not None and self.last_loss > 0.95 * self.chance * self._per_label
        return self.last_loss > 0.95 * self.start_loss or at_chance

    @cached_property
    def creeps(self) -> bool:
        """Whether less than a third of the loss is gone."""
        return self.stuck or (bool(self.losses) and self.last_loss > 0.67 * self.start_loss)

    @cached_property
    def skipping(self) -> bool:
        """Whether one update in ten is skipped."""
        steps, skipped = self.number("steps"), self.number("skipped_steps")
        return bool(steps and skipped and steps > 60 and skipped > 0.1 * steps)

    @cached_property
    def harmed(self) -> bool:
        """Whether the run does not get on."""
        return self.nonfinite or self.stuck or self.skipping or self.poor or self.overshot

    @cached_property
    def level(self) -> float:
        """The last loss of training or, if that is larger, of validation."""
        held_out = [each.value for each in self.run.series.get("val_loss", ()) if math.isfinite(each.value)]
        return max(self.last_loss, median(held_out[-2:])) if held_out else self.last_loss

    @cached_property
    def poor(self) -> bool:
        """Whether the loss ends above half that of guessing, or of the start where that is not known."""
        return (self.level_share or 0.0) > 0.5

    @cached_property
    def level_share(self) -> float | None:
        """The last loss over that of guessing, or of the start; None if summed or trained before."""
        if len(self.losses) < 60 or not math.isfinite(self.level):
            return None
        if self.chance is None:
            return self.level / self.start_loss if self.start_loss > 0 else None
        trained_before = (self.first_loss_over_chance or 0.0) < 0.7
        return None if trained_before or self.summed else self.level / self.chance

    @cached_property
    def summed(self) -> bool:
        """Whether the loss adds up the samples of the batch."""
        return self.run.settings.get("reduction") == "sum" or self.multiplied

    @cached_property
    def normed(self) -> bool:
        """Whether any layer normalizes."""
        return any("Norm" in kind for kind in self.run.module_classes.values())

    @cached_property
    def alarm(self) -> int | None:
        """The step whose gradient was nan or inf while the loss was still finite."""
        event = next((each for each in self.run.events if each.name == "alarm_gradient"), None)
        return event.step if event is not None else None

    @cached_property
    def rises(self) -> bool:
        """Whether the loss was, at some step, half as large again as the first of an untrained model."""
        if (self.first_loss_over_chance or 1.0) < 0.7:
            return False
        return bool(self.losses) and max(filter(math.isfinite, self.losses), default=0.0) > 1.5 * self.first_loss

    @cached_property
    def output_share(self) -> float:
        """The mean square of the first output over the first loss, if that is a mean squared error; else 0.

        Near 1 the targets are small beside the outputs.
        """
        size = self.start.get("", {}).get("out_rms")
        if size is None or self.run.settings.get("loss") != "MseLoss" or not self.first_loss > 0:
            return 0.0
        return size * size / self.first_loss

    @cached_property
    def overshot(self) -> bool:
        """Whether outputs far larger than the targets were never brought down: the loss stands, or is still large."""
        if self.output_share < 0.85 or len(self.losses) < 60 or not math.isfinite(self.level):
            return False
        third = len(self.losses) // 3
        middle, last = median(self.losses[third:-third]), median(self.losses[-third:])
        return last > 0.9 * middle or self.level > 1.5 * self.last_loss or self.level > 0.1 * self.first_loss

    @cached_property
    def large_first_loss(self) -> bool:
        """Whether the first loss is several times that of equal probabilities."""
        return (self.first_loss_over_chance or 1.0) > 5

    @cached_property
    def multiplied(self) -> bool:
        """Whether the loss is larger than any mean of cross-entropies can be with logits of this size."""
        largest = self.start.get("", {}).get("out_max")
        if self.chance is None or largest is None or not self.start:
            return False
        return self.first_loss > 1.5 * (self.chance + 2 * largest)

    @cached_property
    def gradient_zero(self) -> bool:
        """Whether every gradient that was measured is exactly 0."""
        gradients = [each for step in self.parameters for each in self.column(step, "grad_rms")]
        return bool(gradients) and not any(gradients)

    @cached_property
    def _per_label(self) -> float:
        labels = self.number("labels")
        return labels if labels and self.run.settings.get("reduction") == "sum" else 1.0

    @cached_property
    def first_loss_over_chance(self) -> float | None:
        """The first loss, for one label, over that of equal probabilities."""
        if self.chance is None:
            return None
        return self.first_loss / (self.chance * self._per_label)

    @cached_property
    def scale_free(self) -> bool:
        """Whether the size of the updates is independent of that of the gradients."""
        name = str(self.run.settings.get("optimizer", "")).lower()
        return any(each in name for each in _SCALE_FREE)

    @cached_property
    def recurrent_spread(self) -> tuple[str, float]:
        """The recurrent weights of a plain RNN with the largest initial spectral radius, and that radius."""
        found = [
            (name, facts.get("init_rms", 0.0) * math.sqrt(facts["fan_in"]))
            for name, facts in self.facts.items()
            if "weight_hh" in name and self.class_of(name) == "RNN"
        ]
        return max(found, key=lambda each: each[1], default=("", 0.0))

    @property
    def has_state(self) -> bool:
        """Whether the optimizer remembers gradients."""
        return self.scale_free or bool(self.number("momentum"))

    @cached_property
    def poisoned(self) -> int | None:
        """The step at which weights were not finite any more."""
        named = (each.step for each in self.run.events if each.name == "alarm_loss" and "not finite:" in each.text)
        return next(named, None)

    @cached_property
    def float16(self) -> bool:
        """Whether anything is computed in float16."""
        pure = any(facts["bits"] == 16 and not facts["bfloat16"] for facts in self.facts.values())
        return pure or self.run.settings.get("autocast") == "float16"

    @cached_property
    def rate_rises(self) -> bool:
        """Whether the learning rate still rises at the end."""
        rates = [record.value for record in self.run.series.get("lr", ())]
        return len(rates) > 5 and rates[-1] >= max(rates) > 1.2 * median(rates)

    def column(self, step: int, key: str, names: Sequence[str] | None = None) -> list[float]:
        """A statistic of the weights at a step, where it was measured and is finite."""
        at = self.parameters.get(step, {})
        chosen = self.weights if names is None else names
        found = (at.get(name, {}).get(key) for name in chosen)
        return [each for each in found if each is not None and math.isfinite(each)]

    @cached_property
    def early(self) -> list[int]:
        """The recorded steps of the beginning."""
        return [step for step in sorted(self.parameters) if step <= _EARLY]

    @cached_property
    def first_update(self) -> float | None:
        """The median over the weights of update/weight at the first step that updated any."""
        for step in sorted(self.parameters):
            ratios = self.column(step, "update_ratio")
            if ratios and max(ratios) > 0:
                return median(ratios)
        return None

    @cached_property
    def largest_update(self) -> float | None:
        """The largest update/weight of any weight in the steady course: the median over steps of the maximum."""
        tops = [max(column) for step in self.parameters if (column := self.column(step, "update_ratio"))]
        return median(tops) if tops else None

    @cached_property
    def gain(self) -> float | None:
        """The initial weights' rms over He's √(2/fan-in), median; torch's own initialisation gives 0.41."""
        gains = [
            facts["init_rms"] * math.sqrt(facts["fan_in"]) / _HE
            for name in self.weights
            if (facts := self.facts[name]).get("init_rms", 0) > 0 and facts["fan_in"] > 0
        ]
        return median(gains) if gains else None

    @cached_property
    def start(self) -> Mapping[str, Values]:
        """The modules at the first sampled step, in the order in which they ran."""
        return self.modules[min(self.modules)] if self.modules else {}

    @cached_property
    def classes(self) -> list[tuple[str, str]]:
        """(module, class) in the order in which they ran."""
        return [(name, self.run.module_classes.get(name, "")) for name in self.start if name]

    @cached_property
    def symmetric(self) -> bool:
        """Whether the units of most layers were made alike, and not only a last or an added layer that begins at 0."""
        alike = [self.facts[name].get("init_rows") == 0 for name in self.weights]
        constant = [
            self.facts[name].get("init_rows") == 0 and self.facts[name].get("init_rms", 0) > 0 for name in self.weights
        ]
        if len(alike) < 2:
            return False
        neighbours = any(one and next_ for one, next_ in pairwise(alike))
        return sum(constant) >= 0.5 * len(alike) or (all(alike) and neighbours)

    @cached_property
    def saturated(self) -> tuple[str, float] | None:
        """The activation that is saturated most from the first sampled steps on, the last to run left out."""
        shares: dict[str, list[float]] = {}
        for step in sorted(self.modules):
            if step <= _EARLY:
                for name, values in [*self.modules[step].items()]:
                    if "saturated" in values:
                        shares.setdefault(name, []).append(values["saturated"])
        last = self.classes[-1][0] if self.classes else ""
        middle = {name: min(each) for name, each in shares.items() if name != last}
        return max(middle.items(), key=lambda item: item[1]) if middle else None

    def silent(self, key: str, step: int) -> tuple[str, float] | None:
        """The rectifier, or input of a later layer, with the largest share of silent units at a step."""
        shares = {}
        seen_layer = False
        for name, values in self.modules.get(step, {}).items():
            kind = self.run.module_classes.get(name, "")
            if name and key in values and (kind in _RECTIFIERS or seen_layer):
                shares[name] = values[key]
            seen_layer |= f"{name}.weight" in self.facts
        return max(shares.items(), key=lambda item: item[1]) if shares else None

    @cached_property
    def silent_at_first(self) -> tuple[str, float]:
        """The layer most of whose units are silent at every one of the first sampled steps."""
        found = [self.silent("silent_now", step) for step in sorted(self.modules)[:3]]
        known = [each for each in found if each is not None]
        return min(known, key=lambda each: each[1]) if known else ("", 0.0)


def layer_findings(run: TrainingRun) -> Iterator[Finding]:
    """What the layers of a run speak for and against."""
    if not run.layers and not run.settings.get("operations"):
        return
    case = Case(run)
    for rule in CASE_RULES:
        yield from rule(case)


def _found(
    feature: str, zh: str, en: str, *numbers: float, step: int | None = None, layer: str = "", **weights: float
) -> Iterator[Finding]:
    """A finding for each cause. {0}, {1} … in the texts are the numbers, {layer} is the layer."""

    def text(lang: str, pattern: str) -> str:
        shown = [format_in_text(_rounded(each), "zh" if lang == "zh" else "en") for each in numbers]
        return pattern.format(*shown, layer=f"`{layer}`")

    both = Text(zh=text("zh", zh), en=text("en", en))
    for cause, weight in weights.items():
        if weight:
            yield Finding(feature=feature, cause=cause, weight=weight, text=both, step=step, layer=layer)


def _rounded(value: float) -> float | int:
    """Two significant digits; a whole number as one."""
    if not math.isfinite(value):
        return value
    rounded = float(f"{value:.2g}") if abs(value) < 100 else float(f"{value:.3g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded


def _log10(value: float) -> float:
    return math.log10(max(value, 1e-300))


def step_size(case: Case) -> Iterator[Finding]:
    """Updates beside the weights they change: too large at the first step, or too small all the time (N1, N22)."""
    first = case.first_update
    if first is None:
        return
    sound_start = (not case.large_first_loss or case.multiplied) and (case.gain or 1.0) < 1.8
    if ((case.harmed or case.rises) and first > 0.05) or (case.creeps and first > 0.2):
        weight = min(3.0, 1.0 + 1.5 * _log10(first / 0.05))
        yield from _found(
            "update_large",
            "第一次更新就把权重改变了它自身的 {0} 倍（正常的训练约为 0.001 到 0.03）",
            "the first update changed the weights by {0} of their size (0.001 to 0.03 is usual)",
            first,
            step_too_large=weight if sound_start else 0.3 * weight,
            step_too_small=-4.0,
        )
    elif case.harmed and first < 3e-3 and not case.rate_rises:
        yield from _found(
            "update_small",
            "第一次更新只把权重改变了它自身的 {0} 倍",
            "the first update changed the weights by only {0} of their size",
            first,
            step_too_large=-1.5,
        )
    yield from _too_small(case)


def _too_small(case: Case) -> Iterator[Finding]:
    largest, steps = case.largest_update, case.number("steps")
    if not largest or not steps or case.nonfinite or not case.creeps or case.rate_rises or steps < 40:
        return
    way = largest * steps
    if way > 1 and case.last_loss > 0.9 * case.start_loss:
        yield from _found(
            "weights_move_far",
            "{0} 步里权重能走的路是自身大小的 {1} 倍：步子不小",
            "in {0} steps a weight can have moved by {1} times its size: the steps are not small",
            steps, way, step_too_small=-2.5, no_update=-1.5,
        )  # fmt: skip
    elif way < 0.05 and not swallowed_share(case):
        yield from _found(
            "weights_hardly_move",
            "{0} 步里每个权重最多只走了自身大小的 {1} 倍：步子太小，还没有学到东西",
            "in {0} steps no weight can have moved by more than {1} of its size: too little to learn",
            steps,
            way,
            step_too_small=3.5 if way < 0.02 else 2.0,
            chance_labels=-1.5,
        )


def initial_weights(case: Case) -> Iterator[Finding]:
    """The initial weights beside He's, and what they make of the signal at the first step (N2)."""
    gain = case.gain
    if gain is None or not (case.harmed or (case.large_first_loss and not case.multiplied)):
        return
    normed = case.normed
    saturated = case.saturated is not None and case.saturated[1] > 0.5
    if gain > (2.5 if normed else 1.8):
        yield from _found(
            "initial_weights_large",
            "初始权重的均方根是 He 初始化 √(2/fan_in) 的 {0} 倍",
            "the initial weights are {0} times as large as He's √(2/fan-in)",
            gain,
            weights_too_large=1.0 if saturated else min(3.5, 1.0 + 2 * math.log2(gain / 1.8)),
            vanishing_signal=-1.0,
        )
    elif gain < 0.3 and not normed and len(case.weights) >= 4 and not case.symmetric:
        yield from _found(
            "initial_weights_small",
            "初始权重只有 He 初始化 √(2/fan_in) 的 {0} 倍，每过一层信号和梯度都变小",
            "the initial weights are only {0} of He's √(2/fan-in): signal and gradient shrink with every layer",
            gain,
            vanishing_signal=4.0 if gain < 0.15 else 3.0,
            step_too_small=-1.5,
            chance_labels=-1.5,
        )
    elif 0.3 < gain < 1.5:
        yield from _found(
            "initial_weights_usual",
            "初始权重的大小正常：是 He 初始化的 {0} 倍（torch 的默认值约为 0.41）",
            "the initial weights have a usual size: {0} times He's (torch's own give 0.41)",
            gain,
            weights_too_large=-2.0,
        )
    if case.output_share > 0.85:
        yield from _found(
            "outputs_dominate_the_loss",
            "第一个损失 {0} 几乎全是输出自己的平方：目标与它相比很小",
            "nearly all of the first loss, {0}, is the square of the output itself: the targets are small beside it",
            case.first_loss,
            weights_too_large=2.5,
            inputs_not_scaled=1.5,
            step_too_large=-1.0,
            vanishing_signal=-1.5,
            chance_labels=-2.0,
        )
    factor = _growth(case)
    if factor is not None and factor > 1.5 and (case.first_loss_over_chance or 0) > 3:
        yield from _found(
            "signal_grows_with_depth",
            "第一步时信号每过一层就变成 {0} 倍，初始损失是随机猜测的 {1} 倍",
            "at the first step the signal grows {0}-fold per layer, and the loss is {1} times that of chance",
            factor,
            case.first_loss_over_chance or 0.0,
            weights_too_large=1.5,
        )


def _growth(case: Case) -> float | None:
    """The factor of the signal's rms per layer of weights at the first step; None for fewer than three layers."""
    sizes = [
        values["rms"] / values["in_rms"]
        for name, values in case.start.items()
        if values.get("in_rms", 0) > 0 and values.get("rms", 0) > 0 and f"{name}.weight" in case.facts
    ]
    return math.exp(math.fsum(map(math.log, sizes)) / len(sizes)) if len(sizes) >= 3 else None


def vanishing(case: Case) -> Iterator[Finding]:
    """Gradients of the first layers beside what the optimizer needs to move them (N3).

    SGD moves a layer in proportion to its gradient; Adam moves it all the same, until the gradient meets its eps.
    """
    if case.gradient_zero:
        return  # of the last layer too: nothing fades on the way, the loss itself has no slope
    if not case.stuck or case.symmetric or len(case.weights) < 4 or not case.early or case.silent_at_first[1] > 0.9:
        return
    first = case.weights[: max(1, len(case.weights) // 4)]
    last = case.weights[-1:]
    if case.scale_free:
        gradients = [each for step in case.early for each in case.column(step, "grad_rms", first)]
        eps = case.number("eps") or 1e-8
        if gradients and median(gradients) < 30 * eps:
            yield from _found(
                "gradient_below_eps",
                "前几层的梯度只有 {0}，与 Adam 的 eps = {1} 相当：它们几乎不动",
                "the gradients of the first layers, {0}, are no larger than Adam's eps {1} allows: they hardly move",
                median(gradients),
                eps,
                layer=first[0],
                vanishing_signal=3.0,
            )
        return
    steps = case.number("steps") or 0.0
    ratios = [each for step in case.early for each in case.column(step, "update_ratio", first)]
    others = [each for step in case.early for each in case.column(step, "update_ratio", last)]
    if ratios and others and median(others) > 0 and median(ratios) < 1e-2 * median(others):
        way = median(ratios) * steps
        if way < 0.02:
            saturated = case.saturated is not None and case.saturated[1] > 0.5
            yield from _found(
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


def saturation(case: Case) -> Iterator[Finding]:
    """Sigmoid and tanh units on the flat part from the first steps on (N4)."""
    if case.saturated is None or not (case.harmed or case.last_loss > 0.5 * case.start_loss):
        return
    name, share = case.saturated
    values = case.start.get("", {})
    if share > 0.5:
        yield from _found(
            "saturated_from_start",
            "{layer} 有 {0}% 的输出从一开始就在饱和区，那里的导数近于零",
            "{0} % of the outputs of {layer} are saturated from the start, where the slope is almost zero",
            100 * share,
            layer=name,
            saturated_activation=1.5 if values.get("in_rms", 1) > 10 else 3.8,
        )
    elif share < 0.2:
        yield from _found(
            "not_saturated",
            "sigmoid/tanh 没有饱和：一开始最多 {0}%",
            "the sigmoid and tanh units are not saturated: {0} % at most at the start",
            100 * share,
            saturated_activation=-2.0,
        )


def dead_units(case: Case) -> Iterator[Finding]:
    """Units that are silent on every sample, step after step (N5)."""
    if not case.stuck or not case.modules:
        return
    name, share = case.silent_at_first
    if share >= 0.9:
        yield from _found(
            "silent_from_start",
            "{layer} 从第一步起就有 {0}% 的单元对所有样本输出零",
            "{0} % of the units of {layer} are 0 for every sample from the first step on",
            100 * share,
            layer=name,
            dead_relu=5.0,
            chance_labels=-2.0,
            no_update=-2.5,
            step_too_small=-1.5,
        )
        return
    end = max(case.modules)
    found = case.silent("silent", end) or case.silent("silent_now", end)
    if found is None:
        return
    name, share = found
    if share >= 0.6:
        large = (case.first_update or 0) > 0.05
        later = case.silent_at_first[1] < 0.3 and min(case.losses, default=0.0) < 0.5 * case.start_loss
        weight = 0.8 if later else 1.5 if large or case.silent_at_first[1] > 0.5 * share else 2.5
        yield from _found(
            "silent_in_window",
            "{layer} 有 {0}% 的单元在最近几次记录里对所有样本都输出零",
            "{0} % of the units of {layer} were 0 for every sample of the last records",
            100 * share,
            step=end,
            layer=name,
            dead_relu=weight,
            step_too_large=1.0 if large else 0.0,
        )
    elif share < 0.3:
        yield from _found(
            "units_alive",
            "没有死掉的 ReLU 层：持续为零的单元最多 {0}%",
            "no layer of rectifiers has died: {0} % of the units are silent at most",
            100 * share,
            dead_relu=-2.0,
        )


def symmetry(case: Case) -> Iterator[Finding]:
    """Layers whose units were made alike (N6)."""
    if case.symmetric:
        name = next(each for each in case.weights if case.facts[each].get("init_rows") == 0)
        yield from _found(
            "units_made_alike",
            "{layer} 等层的各行初始值完全相同：所有单元学到的是同一个东西",
            "all rows of {layer} and other layers began equal: all units of a layer learn the same",
            layer=name,
            symmetric_init=4.5,
            vanishing_signal=-1.5,
            dead_relu=-1.0,
        )
    elif case.harmed and any("init_rows" in case.facts[each] for each in case.weights):
        yield from _found(
            "units_made_different",
            "各层单元的初始值互不相同",
            "the units of each layer began with different weights",
            symmetric_init=-3.0,
        )


def reduction(case: Case) -> Iterator[Finding]:
    """A loss that adds up the samples of the batch (N7)."""
    operations = str(case.run.settings.get("operations", "")).split()
    if case.run.settings.get("scaler") and operations[:1] == ["Mul"]:
        operations = operations[1:]
    head = next((each for each in operations if each != "ToCopy"), "")
    kind = str(case.run.settings.get("loss", ""))
    summed = case.run.settings.get("reduction") == "sum" and head == kind
    slow = case.harmed or case.creeps
    if (summed or head == "Sum" or case.multiplied) and (slow or (case.first_update or 0) > 0.05):
        labels = case.number("labels") or case.number("batch_size") or 0.0
        yield from _found(
            "loss_is_summed",
            "损失是对整个批求和得到的（一批 {0} 个），梯度也就大了这么多倍",
            "the loss is the sum over the batch ({0} in a batch), and so the gradient is that many times larger",
            labels,
            summed_loss=1.0 if case.scale_free else 4.0,
            step_too_large=0.0 if case.scale_free else -1.0,
        )
    elif case.run.settings.get("reduction") == "mean" and not case.multiplied:
        yield from _found("loss_is_mean", "损失是批内平均", "the loss is a mean over the batch", summed_loss=-4.0)


def inputs(case: Case) -> Iterator[Finding]:
    """The numbers that enter the model: their size, their columns, nan among them (N8, N9)."""
    values = case.start.get("", {})
    named = (event.step for event in case.run.events if event.name == "input_not_finite")
    bad = next(named, None)
    if bad is None:
        bad = next((step for step in sorted(case.modules) if case.modules[step].get("", {}).get("in_bad", 0) > 0), None)
    if bad is not None and case.nonfinite:
        yield from _found(
            "input_not_finite", "输入里已经有 nan 或 inf", "the input itself holds nan or inf", step=bad,
            nonfinite_data=3.5,
        )  # fmt: skip
    size, columns = values.get("in_rms"), values.get("in_columns", 1.0)
    if size is None or not (case.harmed or (case.large_first_loss and not case.multiplied)):
        return
    normed = any("Norm" in kind for _, kind in case.classes[:2])
    share = 0.3 if normed else 1.0
    if columns > 100:
        yield from _found(
            "columns_differ",
            "有一列输入的大小是各列中位数的 {0} 倍",
            "one column of the input is {0} times as large as the median column",
            columns,
            inputs_not_scaled=3.0 * share,
            weights_too_large=-0.5,
        )
    elif size > 10:
        yield from _found(
            "input_large",
            "输入的均方根是 {0}，没有归一化",
            "the input has an rms of {0}: it is not scaled to about 1",
            size,
            inputs_not_scaled=min(3.5, 1.0 + 1.5 * _log10(size / 10)) * share,
        )
    elif values.get("in_offset", 0) > 20:
        yield from _found(
            "input_offset",
            "输入的均值是标准差的 {0} 倍，没有减去均值",
            "the mean of the input is {0} standard deviations from 0",
            values["in_offset"],
            inputs_not_scaled=1.5 * share,
        )
    elif 0.1 < size < 5 and columns < 30:
        yield from _found(
            "input_usual", "输入的大小正常：均方根 {0}", "the input has a usual size: rms {0}", size,
            inputs_not_scaled=-3.0,
        )  # fmt: skip


def labels(case: Case) -> Iterator[Finding]:
    """A batch without a label: the mean over none is 0/0 (N10)."""
    if case.number("ignored") == 1 and any(not math.isfinite(each) for each in case.losses):
        yield from _found(
            "no_label_left",
            "出错的那一批里所有标签都被忽略，平均成了 0/0",
            "all labels of the batch at fault are ignored: the mean over none is 0/0",
            bad_labels=5.0,
        )


def overflow(case: Case) -> Iterator[Finding]:
    """Outputs beside the largest float16 (N17)."""
    if not case.float16 or not (case.nonfinite or case.skipping):
        return
    largest = (0.0, "", 0)
    for step, modules in case.modules.items():
        if case.poisoned is not None and step >= case.poisoned:
            continue  # what weights that are nan give is no overflow
        for name, values in modules.items():
            for key in ("max", "in_max"):
                value = values.get(key, 0.0)
                value = math.inf if math.isnan(value) else value
                if name and value > largest[0]:
                    largest = (value, name, step)
    if largest[0] > _FLOAT16_MAX / 4:
        yield from _found(
            "near_float16_limit",
            "{layer} 的输出到了 {0}，float16 最大只有 65504",
            "the output of {layer} reaches {0}; float16 ends at 65504",
            largest[0],
            step=largest[2],
            layer=largest[1],
            forward_overflow=3.0,
            loss_scale_collapse=0.5,
        )
    elif 0 < largest[0] < _FLOAT16_MAX / 256:
        yield from _found(
            "far_from_float16_limit",
            "各层输出最大 {0}，离 float16 的上限还远",
            "the largest output of a layer is {0}, far from the end of float16",
            largest[0],
            forward_overflow=-1.5,
        )


def underflow(case: Case) -> Iterator[Finding]:
    """Gradients that float16 rounds to zero (N18)."""
    if not case.float16 or case.run.settings.get("scaler") or not case.creeps or case.nonfinite:
        return
    lost = [
        each.get("zero", 0.0) + (1 - each.get("zero", 0.0)) * each.get("tiny", 0.0)
        for step in case.early
        for name, each in case.parameters[step].items()
        if name in case.weights and each.get("grad_max", 1.0) < 2.0**-14
    ]
    if len(lost) >= 0.3 * len(case.early) * len(case.weights) > 0:
        yield from _found(
            "gradient_below_float16",
            "没有损失缩放；多数权重的最大梯度低于 float16 的最小正规数 6×10⁻⁵，{0}% 的梯度是零或几乎丢失",
            "without loss scaling: most weights' largest gradient is below float16's normal range, and {0} % of the "
            "gradients are 0 or nearly so",
            100 * median(lost),
            gradient_underflow=5.0 if case.gradient_zero else 3.5,
            vanishing_signal=-2.5 if case.gradient_zero else -0.5,
        )


def clipping(case: Case) -> Iterator[Finding]:
    """Gradients clipped while they still carry the loss scale (N20)."""
    event = next((each for each in case.run.events if each.name == "clip_before_unscale"), None)
    if event is not None:
        yield from _found(
            "clipped_while_scaled",
            "裁剪梯度时还没有除以损失缩放因子：实际的裁剪阈值小了这么多倍",
            "gradients are clipped before they are divided by the loss scale: the limit is that much too small",
            step=event.step,
            clip_before_unscale=4.5,
            step_too_small=-1.5,
        )


def swallowed_share(case: Case) -> float:
    """Of 16-bit weights with a gradient, the share that the early updates left unchanged: the median."""
    names = [name for name in case.weights if case.facts[name]["bits"] == 16]
    shares = [each for step in case.early for each in case.column(step, "unchanged", names)]
    return median(shares) if shares else 0.0


def swallowed(case: Case) -> Iterator[Finding]:
    """Updates smaller than half a unit in the last place of 16-bit weights, already at the first steps (N21)."""
    share = swallowed_share(case)
    if share > 0.5 and (case.creeps or (share > 0.8 and case.poor)):
        yield from _found(
            "updates_swallowed_early",
            "最初几步就有 {0}% 的 16 位权重没有变，虽然梯度不为零：更新小于末位的一半",
            "already in the first steps, {0} % of the 16-bit weights stay as they are though their gradient is not 0: "
            "the updates are below half a unit in the last place",
            100 * share,
            update_swallowed=4.0 if share > 0.8 else 2.5,
            step_too_small=-1.0,
            no_update=-2.0,
        )
    elif case.harmed and case.facts and all(facts["bits"] >= 32 for facts in case.facts.values()):
        yield from _found("weights_have_32_bits", "权重是 32 位的", "the weights have 32 bits", update_swallowed=-4.0)


def stale_state(case: Case) -> Iterator[Finding]:
    """Adam's state: nan in it, or updates larger than it gives with a second moment that is up to date (N24)."""
    if not case.scale_free:
        return
    event = next((each for each in case.run.events if each.name == "bad_state"), None)
    alarm = next((each for each in case.run.events if each.name == "alarm_loss"), None)
    weights_bad = alarm is not None and "not finite" in alarm.text
    if event is not None and not weights_bad and case.nonfinite:
        yield from _found(
            "state_not_finite",
            "优化器的状态里已经有 nan 或 inf，权重还是有限的",
            "the optimizer's state holds nan or inf while the weights are finite",
            step=event.step,
            adam_stale=3.5,
        )
    yield from _beyond_rate(case)


def _beyond_rate(case: Case) -> Iterator[Finding]:
    """Updates beyond the learning rate, with a spike of the loss near them."""
    losses = case.run.series.get("loss", ())
    rates = {record.step: record.value for record in case.run.series.get("lr", ())}
    for step in sorted(case.parameters):
        before = [each.value for each in losses if (each.step or 0) < step][-50:]
        near = [each.value for each in losses if step <= (each.step or 0) < step + 20]
        if len(before) < 20 or max(near, default=0.0) < 10 * median(before):
            continue
        sizes = case.column(step, "update_rms")
        rate = rates.get(step)
        if (
            step > 4 * _EARLY
            and rate
            and sizes
            and max(sizes) > 2.5 * rate
            and "Adam" in str(case.run.settings["optimizer"])
        ):
            yield from _found(
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


def accumulation(case: Case) -> Iterator[Finding]:
    """Gradients that the step before has used are still there (N25)."""
    carried = case.number("carried")
    if carried is None or case.run.settings.get("optimizers") != 1:
        return
    if carried > 0.9:
        yield from _found(
            "gradients_not_zeroed",
            "每次反向传播前，上一步用过的梯度还在：没有调用 zero_grad",
            "before each backward pass the gradients of the step before are still there: zero_grad is missing",
            gradients_accumulate=6.5,
            step_too_large=-2.5,
        )
    elif carried < 0.1:
        yield from _found(
            "gradients_zeroed", "每步之前梯度都清零了", "the gradients are set to zero before each step",
            gradients_accumulate=-5.0,
        )  # fmt: skip


def no_update(case: Case) -> Iterator[Finding]:
    """Weights that no update reaches (N26)."""
    if not case.stuck and not case.creeps:
        return
    trained = [facts for facts in case.facts.values() if facts["trained"] > 0]
    size = math.fsum(facts["size"] for facts in trained)
    free = [name for name, facts in case.facts.items() if facts["trained"] > 0 and facts["held"] == 0]
    missing = math.fsum(case.facts[name]["size"] for name in free)
    if case.number("optimizers") and size and missing > 0.3 * size:
        yield from _found(
            "not_in_optimizer",
            "优化器里没有 {layer} 等参数，占可训练参数的 {0}%",
            "the optimizer does not hold {layer} and others, {0} % of the trained parameters",
            100 * missing / size,
            layer=free[0],
            no_update=5.0,
            step_too_small=-3.0,
        )
    moves = [each for step in case.parameters for each in case.column(step, "update_rms")]
    gradients = [each for step in case.parameters for each in case.column(step, "grad_rms")]
    if moves and not any(moves) and any(gradients):
        half = any(facts["bits"] == 16 for facts in trained)
        yield from _found(
            "weights_unchanged",
            "梯度不为零，但所有权重逐位不变",
            "no weight changes by a single bit, though the gradients are not 0",
            update_swallowed=2.0 if half else 0.0,
            no_update=0.0 if half else 3.5,
        )
    elif moves and any(moves):
        yield from _found("weights_change", "权重在变", "the weights do change", no_update=-2.5 if not free else 0.0)
    if case.number("steps") and not case.parameters and case.run.series.get("loss") and case.number("optimizers"):
        yield from _found(
            "step_never_called", "优化器的 step 从未被调用", "the optimizer's step is never called", no_update=4.0
        )


def running_statistics(case: Case) -> Iterator[Finding]:
    """Batch norm in a model that has learned its training data and is no good in validation."""
    held_out = [each.value for each in case.run.series.get("val_loss", ()) if math.isfinite(each.value)]
    normed = any("BatchNorm" in kind for kind in case.run.module_classes.values())
    if normed and len(held_out) >= 3 and case.level > 10 * case.last_loss and min(held_out) > 0.5 * case.start_loss:
        yield from _found(
            "normed_and_learned",
            "训练损失降到 {0}，验证损失一直不低于 {1}，而模型用批归一化：评估用的是另一套统计量",
            "the training loss falls to {0}, that of validation is never below {1}, and the model has batch norms, "
            "which use other statistics in evaluation",
            case.last_loss,
            min(held_out),
            batch_norm=2.0,
            chance_labels=-2.0,
        )


def batch_statistics(case: Case) -> Iterator[Finding]:
    """Batch norm over one or two numbers (N27)."""
    counts = [
        (values["batch_count"], name)
        for modules in case.modules.values()
        for name, values in modules.items()
        if values.get("batch_count", 0) > 0
    ]
    if not counts or not (case.harmed or case.creeps or "val_loss" in case.run.series):
        return
    count, name = min(counts)
    if count <= 4:
        yield from _found(
            "batch_norm_over_few",
            "{layer} 的批归一化每个通道只对 {0} 个数求统计",
            "the batch norm {layer} takes its statistics from {0} numbers per channel",
            count,
            layer=name,
            batch_norm=3.5 if count <= 2 else 2.0,
        )
    elif count >= 16 and case.harmed and not case.level > 10 * case.last_loss:
        yield from _found(
            "batch_norm_over_many",
            "批归一化每个通道对 {0} 个数求统计，足够多",
            "the batch norms take their statistics from {0} numbers per channel, which is enough",
            count,
            batch_norm=-1.0,
        )


def warm_up(case: Case) -> Iterator[Finding]:
    """Post-norm residual blocks under Adam from full rate on (N28)."""
    rates = [record.value for record in case.run.series.get("lr", ())]
    if not case.harmed or not case.scale_free or not rates or not post_norm(case):
        return
    if rates[0] >= 0.5 * max(rates):
        yield from _found(
            "post_norm_at_full_rate",
            "残差块的归一化在后（post-LN），学习率从第一步起就是最大值的 {0}%，没有预热",
            "the residual blocks are normalised after the sum (post-LN), and the learning rate begins at {0} % of its "
            "maximum, without warm-up",
            100 * rates[0] / max(rates),
            no_warmup=2.0,
        )


def post_norm(case: Case) -> bool:
    """Whether a block with two layer norms or more ends in one, in the order in which they ran."""
    blocks: dict[str, list[str]] = {}
    for name, kind in case.classes:
        if kind in ("LayerNorm", "RMSNorm") or "Linear" in kind:
            parts = name.split(".")
            for depth in range(1, len(parts)):
                blocks.setdefault(".".join(parts[:depth]), []).append(kind)
    inner = [kinds for kinds in blocks.values() if 2 <= sum("Norm" in kind for kind in kinds) <= 3 and len(kinds) <= 10]
    return bool(inner) and all("Norm" in kinds[-1] for kinds in inner)


def recurrence(case: Case) -> Iterator[Finding]:
    """The gradient on its way back through time (N29)."""
    if not case.harmed:
        return
    for name, values in case.start.items():
        first, last = values.get("grad_time_first"), values.get("grad_time_last")
        steps = values.get("time_steps", values.get("calls", 0.0))
        if first is None and values.get("calls", 0) >= 8:
            first, last = values.get("grad"), values.get("grad_last")
        recurrent = case.run.module_classes.get(name, "") in _RECURRENT
        if first and last and steps > 4 and math.isfinite(first) and math.isfinite(last):
            yield from _through_time(case, name, first / last, steps)
        elif recurrent and steps >= 20 and case.stuck:
            yield from _found(
                "long_sequence",
                "循环层 {layer} 要把梯度传过 {0} 个时间步",
                "the recurrent layer {layer} carries its gradient through {0} time steps",
                steps,
                layer=name,
                recurrent_product=1.5,
            )
    name, spread = case.recurrent_spread
    if spread > 1.3:
        yield from _found(
            "recurrent_weights_large",
            "循环权重 {layer} 的谱半径约为 {0}：每个时间步都乘上它",
            "the recurrent weights {layer} have a spectral radius of about {0}, a factor of every time step",
            spread,
            layer=name,
            recurrent_product=3.0,
            step_too_large=-0.5,
        )


def _through_time(case: Case, name: str, ratio: float, steps: float) -> Iterator[Finding]:
    factor = ratio ** (1 / (steps - 1))
    if ratio > 100:
        yield from _found(
            "gradient_grows_through_time",
            "梯度往回每过一个时间步变成 {0} 倍，{1} 步共 {2} 倍",
            "the gradient grows {0}-fold with each time step back, {2}-fold over {1}",
            factor,
            steps,
            ratio,
            layer=name,
            recurrent_product=3.0,
        )
    elif ratio < 1e-6 and case.stuck:
        yield from _found(
            "gradient_fades_through_time",
            "梯度往回每过一个时间步只剩 {0} 倍，{1} 步后是 {2} 倍",
            "the gradient shrinks to {0} with each time step back, to {2} over {1}",
            factor,
            steps,
            ratio,
            layer=name,
            recurrent_product=2.5,
        )


def output(case: Case) -> Iterator[Finding]:
    """What reaches the loss: probabilities instead of logits, one unit under a softmax (N30)."""
    operations = str(case.run.settings.get("operations", "")).split()
    chain = [each for each in operations if each not in ("ToCopy", "AccumulateGrad", "View", "Squeeze", "Unsqueeze")]
    for before, after in pairwise(chain):
        if (before, after) in (("LogSoftmax", "Softmax"), ("BinaryCrossEntropyWithLogits", "Sigmoid")):
            yield from _found(
                "probabilities_into_logits",
                "损失要的是 logits，得到的却是概率：{0}{1}".replace("{0}{1}", f"{after} 之后又做了一次 {before}"),
                f"the loss takes logits and gets probabilities: {before} after {after}",
                wrong_output=4.5,
            )
            return
    yield from _constant_output(case, chain)
    values = case.start.get("", {})
    if values.get("out_sums_to_1") == 1 and values.get("out_width") == 1:
        yield from _found(
            "softmax_over_one",
            "模型只有一个输出，softmax 之后恒等于 1",
            "the model has one output, and a softmax over one number is always 1",
            wrong_output=5.0,
        )
    elif values.get("out_sums_to_1") == 1 and "LogSoftmax" in operations[:6]:
        yield from _found(
            "probabilities_into_logits",
            "模型输出的已经是概率，损失又做了一次 softmax",
            "the model returns probabilities, and the loss takes the softmax of them once more",
            wrong_output=4.5,
        )
    elif case.harmed and values.get("out_sums_to_1") == 0 and case.chance is not None:
        yield from _found("output_is_logits", "输出是 logits", "the output is logits", wrong_output=-3.0)


def _constant_output(case: Case, chain: Sequence[str]) -> Iterator[Finding]:
    """A binary cross-entropy whose gradient is 0: a softmax over one unit, or probabilities of exactly 0 and 1."""
    if not case.gradient_zero or "BinaryCrossEntropy" not in chain[:3]:
        return
    if "Softmax" in chain[:4]:
        yield from _found(
            "softmax_over_one",
            "二元交叉熵之前是 softmax，而所有梯度恰好为零：对一个输出做 softmax 恒等于 1",
            "a softmax stands before the binary cross-entropy, and all gradients are exactly 0: over one output it is "
            "always 1",
            wrong_output=5.0,
        )
    elif case.first_loss > 5:
        yield from _found(
            "probabilities_at_clamp",
            "二元交叉熵为 {0}，所有梯度恰好为零：概率已经是 0 或 1，对数被截断",
            "the binary cross-entropy is {0} and all gradients are exactly 0: probabilities are 0 or 1, and the "
            "logarithm is clamped",
            case.first_loss,
            loss_clipped=3.0,
        )


_SINGULAR = {
    "Sqrt", "Norm", "LinalgVectorNorm", "Acos", "Asin", "Acosh", "Atanh", "Cdist", "EuclideanDist", "Rsqrt", "Std",
    "Var",
    "StdMean", "VarMean", "Atan2",
}  # fmt: skip
"""Operations whose derivative has no bound at some point, as the graph of a loss names them."""
_HAZARDS = _SINGULAR | {"Log", "Log2", "Log10", "Log1P", "Xlogy", "Div", "Pow", "Exp", "Reciprocal"}
_LOGARITHMS = {"Log", "Log2", "Log10", "Log1P", "Xlogy"}


def gradient_only(case: Case) -> Iterator[Finding]:
    """A gradient that is not finite beside a finite loss: operations of the loss that can do that, or none."""
    names = str(case.run.settings.get("operations", "")).split()
    if case.alarm is None or not case.nonfinite or not names or case.float16:
        return
    hazards = [each for each in names if each in _HAZARDS]
    masked = "Where" in names and bool(hazards)
    logarithm, singular = bool(_LOGARITHMS & set(hazards)), bool(_SINGULAR & set(hazards))
    yield from _found(
        "gradient_only_nan_where" if masked else "gradient_only_nan",
        "第 {0} 步损失有限，梯度不是；损失的计算图里这类算子有：" + ("、".join(dict.fromkeys(hazards)) or "没有")
        + ("，外面还有 Where" if masked else ""),
        "at step {0} the loss is finite and the gradient is not; operations of the loss whose derivative has no bound: "
        + (", ".join(dict.fromkeys(hazards)) or "none") + (", and Where about them" if masked else ""),
        case.alarm,
        step=case.alarm,
        where_backward=4.5 if masked else -4.0,
        gradient_at_zero=-1.0 if masked else 2.5 if singular else 0.5 if "Pow" in hazards else -4.0,
        log_of_zero=-1.0 if masked else 3.5 if logarithm else -4.0,
        zero_over_zero=-1.0 if masked else 1.0 if "Div" in hazards else -3.0,
        adam_stale=4.0 if not hazards and case.has_state and case.alarm > _EARLY else -1.0,
        step_too_large=-3.0,
        nonfinite_data=-2.0,
    )  # fmt: skip


def adam_eps(case: Case) -> Iterator[Finding]:
    """An eps that float16 rounds to 0 (N12)."""
    eps = case.number("eps")
    pure = [facts for facts in case.facts.values() if facts["bits"] == 16 and not facts["bfloat16"]]
    if pure and case.scale_free and eps is not None and 0 < eps < 2.0**-25 and case.nonfinite:
        yield from _found(
            "eps_below_float16",
            "权重是 float16，而优化器的 eps = {0} 在 float16 里就是零：梯度为零时成了 0/0",
            "the weights are float16, in which the optimizer's eps {0} is 0: where the gradient is 0 too, the update "
            "is 0/0",
            eps,
            eps_lost=4.0 if case.poisoned is None or case.alarm is not None else 6.0,
        )


def sound_numbers(case: Case) -> Iterator[Finding]:
    """No learning although signal, weights and updates are as they should be: then it is the data (D1)."""
    first = case.first_update
    if not case.creeps or case.nonfinite or first is None or case.chance is None:
        return
    if case.last_loss > 1.05 * case.start_loss or (case.first_loss_over_chance or 0.0) < 0.7:
        return  # it rises, as a generator's does, or began far below chance: trained before
    numbers = [*case.start.values()]
    if any(values.get("time_steps", 0) >= 20 for values in numbers):
        return  # a gradient that fades through time is not measured everywhere
    usual = 3e-4 < first < 0.05 and 0.3 < (case.gain or 1.0) < 1.8 and not case.large_first_loss
    held = all(facts["held"] > 0 for facts in case.facts.values() if facts["trained"] > 0)
    zeroed = (case.number("carried") or 0.0) < 0.1
    alive = case.silent_at_first[1] < 0.5 and (case.saturated is None or case.saturated[1] < 0.3)
    if numbers and usual and held and zeroed and alive and not case.symmetric and swallowed_share(case) < 0.3:
        yield from _found(
            "numbers_are_sound",
            "初始权重、信号、更新的大小都正常（第一次更新是权重的 {0} 倍），损失却降不下去",
            "initial weights, signal and updates have usual sizes (the first update is {0} of the weights), and still "
            "the loss does not fall",
            first,
            chance_labels=1.5,
        )


CASE_RULES: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    step_size,
    initial_weights,
    vanishing,
    saturation,
    dead_units,
    symmetry,
    reduction,
    inputs,
    labels,
    overflow,
    underflow,
    clipping,
    swallowed,
    stale_state,
    accumulation,
    no_update,
    batch_statistics,
    running_statistics,
    warm_up,
    recurrence,
    output,
    adam_eps,
    sound_numbers,
    gradient_only,
)
"""One for each kind of evidence."""
RULES: tuple[Callable[[TrainingRun], Iterable[Finding]], ...] = (layer_findings,)
"""What the engine calls."""
