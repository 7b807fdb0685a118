"""A recorded run, with the quantities derived from it that the rules on layers test."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from statistics import median

from qa_service.model.training_run import TrainingRun

Statistics = Mapping[str, float]


_SCALE_FREE = ("adam", "lion", "lamb", "adafactor", "rmsprop", "adagrad", "muon")
"""Parts of the names of optimizers whose updates do not depend on the scale of the gradients."""


_RECTIFIERS = ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "GELU", "SiLU", "Softplus")


RECURRENT_CLASSES = ("RNN", "LSTM", "GRU")


_HE = math.sqrt(2)


EARLY_STEPS = 16
"""Steps that count as the beginning."""


class TracedRun:
    """A recorded run; each derived quantity is computed once, when it is first needed."""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.facts: dict[str, Statistics] = {}
        """Parameter → what it was before the first step."""
        self.parameters: dict[int, dict[str, Statistics]] = {}
        """Step → parameter → its statistics."""
        self.modules: dict[int, dict[str, Statistics]] = {}
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
        skipped = ("Embedding", "Norm", *RECURRENT_CLASSES)
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
        """The first loss; nan if there is none."""
        return self.losses[0] if self.losses else math.nan

    @cached_property
    def last_loss(self) -> float:
        """The median of the last tenth of the losses, of 5 at least; nan if any of them is not finite."""
        tail = self.losses[-max(5, len(self.losses) // 10) :]
        return median(tail) if tail and all(map(math.isfinite, tail)) else math.nan

    @cached_property
    def chance_loss(self) -> float | None:
        """The loss of equal probabilities, where the loss is a cross-entropy."""
        classes = self.number("classes")
        return math.log(classes) if classes and classes > 1 and self.run.settings.get("loss") == "NllLoss" else None

    @cached_property
    def constant_baseline_loss(self) -> float | None:
        """The loss of the best constant output: ln C of a cross-entropy; of a squared error, the targets' variance."""
        if self.chance_loss is not None:
            return self.chance_loss * self._per_label
        spread, error = self.number("target_spread"), self.number("error_rms")
        if not spread or not error or not 0 < self.first_loss < math.inf:
            return None
        return self.first_loss * (spread / error) ** 2

    @cached_property
    def loss_is_nonfinite(self) -> bool:
        """Whether the loss ends in nan or inf."""
        return bool(self.losses) and math.isnan(self.last_loss)

    @cached_property
    def start_loss(self) -> float:
        """The median of the first five losses, but at most 1.1 times the first."""
        if not self.losses:
            return math.nan
        return min(median(self.losses[:5]), 1.1 * self.losses[0])

    @cached_property
    def loss_is_stuck(self) -> bool:
        """Whether the loss has hardly fallen, or is no better than chance."""
        if self.loss_is_nonfinite or len(self.losses) < 20:
            return False
        at_chance = self.constant_baseline_loss is not None and self.last_loss > 0.95 * self.constant_baseline_loss
        return self.last_loss > 0.95 * self.start_loss or at_chance

    @cached_property
    def slow_descent(self) -> bool:
        """Whether the loss has fallen by less than a third."""
        return self.loss_is_stuck or (bool(self.losses) and self.last_loss > 0.67 * self.start_loss)

    @cached_property
    def skips_updates(self) -> bool:
        """Whether more than a tenth of the updates is skipped, in a run of more than 60 steps."""
        steps, skipped = self.number("steps"), self.number("skipped_steps")
        return bool(steps and skipped and steps > 60 and skipped > 0.1 * steps)

    @cached_property
    def is_failing(self) -> bool:
        """Whether the run fails: loss not finite, stuck or high, updates skipped, or outputs that stay too large."""
        return (
            self.loss_is_nonfinite
            or self.loss_is_stuck
            or self.skips_updates
            or self.above_half_baseline
            or self.oversized_outputs
        )

    @cached_property
    def worse_final_loss(self) -> float:
        """The last loss of training or, if that is larger, of validation."""
        held_out = [each.value for each in self.run.series.get("val_loss", ()) if math.isfinite(each.value)]
        if not held_out or median(held_out) > 10 * max(filter(math.isfinite, self.losses), default=0.0):
            return self.last_loss  # validation has another scale: the training loss is weighted
        return max(self.last_loss, median(held_out[-2:]))

    @cached_property
    def above_half_baseline(self) -> bool:
        """Whether the loss ends above half that of guessing, or of the start where that is not known."""
        return (self.final_loss_over_baseline or 0.0) > 0.5

    @cached_property
    def final_loss_over_baseline(self) -> float | None:
        """The last loss over that of guessing, or of the start; None if summed or trained before."""
        if len(self.losses) < 60 or not math.isfinite(self.worse_final_loss):
            return None
        if self.chance_loss is None and self.constant_baseline_loss is not None:
            return (
                None
                if self.first_loss < 0.5 * self.constant_baseline_loss
                else self.worse_final_loss / self.constant_baseline_loss
            )
        if self.chance_loss is None:
            return self.worse_final_loss / self.start_loss if self.start_loss > 0 else None
        trained_before = (self.first_loss_over_chance or 0.0) < 0.7
        return None if trained_before or self.loss_is_summed else self.worse_final_loss / self.chance_loss

    @cached_property
    def loss_is_summed(self) -> bool:
        """Whether the loss adds up the samples of the batch."""
        return self.run.settings.get("reduction") == "sum" or self.exceeds_mean_reduction

    @cached_property
    def has_normalisation(self) -> bool:
        """Whether any layer normalizes."""
        return any("Norm" in kind for kind in self.run.module_classes.values())

    @cached_property
    def first_bad_gradient_step(self) -> int | None:
        """The step whose gradient was nan or inf while the loss was still finite."""
        event = next((each for each in self.run.events if each.name == "alarm_gradient"), None)
        return event.step if event is not None else None

    @cached_property
    def loss_rises(self) -> bool:
        """Whether the loss of an untrained model once exceeded 1.5 times its first value."""
        if (self.first_loss_over_chance or 1.0) < 0.7:
            return False
        return bool(self.losses) and max(filter(math.isfinite, self.losses), default=0.0) > 1.5 * self.first_loss

    @cached_property
    def initial_output_over_loss(self) -> float:
        """The mean square of the first output over the first loss, if that is a mean squared error; else 0.

        Near 1 the targets are small beside the outputs.
        """
        size = self.first_sampled_modules.get("", {}).get("out_rms")
        if size is None or self.run.settings.get("loss") != "MseLoss" or not self.first_loss > 0:
            return 0.0
        return size * size / self.first_loss

    @cached_property
    def oversized_outputs(self) -> bool:
        """Whether outputs that began far larger than the targets stay so: the loss does not fall or is still large."""
        if self.initial_output_over_loss < 0.85 or len(self.losses) < 60 or not math.isfinite(self.worse_final_loss):
            return False
        third = len(self.losses) // 3
        middle, last = median(self.losses[third:-third]), median(self.losses[-third:])
        return (
            last > 0.9 * middle
            or self.worse_final_loss > 1.5 * self.last_loss
            or self.worse_final_loss > 0.1 * self.first_loss
        )

    @cached_property
    def large_first_loss(self) -> bool:
        """Whether the first loss is several times that of equal probabilities."""
        return (self.first_loss_over_chance or 1.0) > 5

    @cached_property
    def exceeds_mean_reduction(self) -> bool:
        """Whether the loss is larger than any mean of cross-entropies can be with logits of this size."""
        largest = self.first_sampled_modules.get("", {}).get("out_max")
        if self.chance_loss is None or largest is None or not self.first_sampled_modules:
            return False
        return self.first_loss > 1.5 * (self.chance_loss + 2 * largest)

    @cached_property
    def loss_over_mse(self) -> float | None:
        """The loss over the mean of the squared errors; None without a squared error."""
        error = self.number("error_rms")
        return self.first_loss / error**2 if error and math.isfinite(self.first_loss) else None

    @cached_property
    def has_scaled_inputs(self) -> bool:
        """Whether the first batch had inputs of about 1, no column far from the others."""
        values = self.first_sampled_modules.get("", {})
        return values.get("in_rms", 1.0) < 10 and values.get("in_columns", 1.0) < 100

    @cached_property
    def input_insensitive(self) -> bool:
        """Whether the first outputs of the model hardly depended on its inputs, though it has many layers."""
        values = self.first_sampled_modules.get("", {})
        spread, size = values.get("out_spread", 0.0), values.get("out_rms", 0.0)
        return len(self.weights) >= 4 and 0 < spread < 1e-2 * size

    @cached_property
    def different_samples(self) -> float | None:
        """About how many different samples there are, by how many of a batch came before; None if none did.

        Of n samples, 1 − exp(−m / n) of a batch are among m others; a share near 1 says only that n is far below m.
        """
        known = [self.modules[step].get("", {}) for step in sorted(self.modules)]
        pairs = [(each.get("in_repeated", 0.0), each.get("in_compared", 0.0)) for each in known]
        telling = [(share, others) for share, others in pairs if 0 < share <= 1 and 0 < others < math.inf]
        numbers = [others / -math.log(1 - share) for share, others in telling if share < 0.98]
        bounds = [others / 4 for share, others in telling if share >= 0.98]
        return median(numbers) if numbers else min(bounds, default=None)

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
        if self.chance_loss is None:
            return None
        return self.first_loss / (self.chance_loss * self._per_label)

    @cached_property
    def is_scale_free(self) -> bool:
        """Whether the size of the updates is independent of that of the gradients."""
        name = str(self.run.settings.get("optimizer", "")).lower()
        return any(each in name for each in _SCALE_FREE)

    @cached_property
    def recurrent_spread(self) -> tuple[str, float]:
        """The recurrent weights of a plain RNN with the largest initial spectral radius, and that radius.

        The radius is estimated as rms·√fan-in, as it is for independent entries; ("", 0.0) without a plain RNN.
        """
        found = [
            (name, facts.get("init_rms", 0.0) * math.sqrt(facts["fan_in"]))
            for name, facts in self.facts.items()
            if "weight_hh" in name and self.class_of(name) == "RNN"
        ]
        return max(found, key=lambda each: each[1], default=("", 0.0))

    @property
    def has_optimizer_state(self) -> bool:
        """Whether the optimizer keeps averages of past gradients."""
        return self.is_scale_free or bool(self.number("momentum"))

    @cached_property
    def first_nonfinite_weight_step(self) -> int | None:
        """The step at which the recorder found weights that are not finite; None if it found none."""
        named = (each.step for each in self.run.events if each.name == "alarm_loss" and "not finite:" in each.text)
        return next(named, None)

    @cached_property
    def uses_float16(self) -> bool:
        """Whether anything is computed in float16."""
        pure = any(facts["bits"] == 16 and not facts["bfloat16"] for facts in self.facts.values())
        return pure or self.run.settings.get("autocast") == "float16"

    @cached_property
    def has_spikes(self) -> bool:
        """Whether single losses are ten times the usual one."""
        known = [each for each in self.losses if math.isfinite(each)]
        return len(known) >= 20 and max(known[10:]) > 10 * median(known) > 0

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
    def early_steps(self) -> list[int]:
        """The recorded steps up to `EARLY_STEPS`."""
        return [step for step in sorted(self.parameters) if step <= EARLY_STEPS]

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
    def initial_gain(self) -> float | None:
        """The initial weights' rms over He's √(2/fan-in), median; torch's own initialisation gives 0.41."""
        gains = [
            facts["init_rms"] * math.sqrt(facts["fan_in"]) / _HE
            for name in self.weights
            if (facts := self.facts[name]).get("init_rms", 0) > 0 and facts["fan_in"] > 0
        ]
        return median(gains) if gains else None

    @cached_property
    def first_sampled_modules(self) -> Mapping[str, Statistics]:
        """The modules at the first sampled step, in the order in which they ran."""
        return self.modules[min(self.modules)] if self.modules else {}

    @cached_property
    def module_classes(self) -> list[tuple[str, str]]:
        """(module, class) in the order in which they ran."""
        return [(name, self.run.module_classes.get(name, "")) for name in self.first_sampled_modules if name]

    @cached_property
    def has_symmetric_units(self) -> bool:
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
    def most_saturated_module(self) -> tuple[str, float] | None:
        """(module, share of saturated outputs) of the activation that is saturated most; None without any.

        The share is the least of the sampled steps up to `EARLY_STEPS`. The module that runs last is left out.
        """
        shares: dict[str, list[float]] = {}
        for step in sorted(self.modules):
            if step <= EARLY_STEPS:
                for name, values in [*self.modules[step].items()]:
                    if "saturated" in values:
                        shares.setdefault(name, []).append(values["saturated"])
        last = self.module_classes[-1][0] if self.module_classes else ""
        middle = {name: min(each) for name, each in shares.items() if name != last}
        return max(middle.items(), key=lambda item: item[1]) if middle else None

    def dead_unit_share(self, key: str, step: int) -> tuple[str, float] | None:
        """(module, share of silent units) with the largest share at a step; None if none was sampled.

        Counted are rectifiers, and all modules after the first one with weights. `key` is "silent" or "silent_now".
        """
        shares = {}
        seen_layer = False
        for name, values in self.modules.get(step, {}).items():
            kind = self.run.module_classes.get(name, "")
            if name and key in values and (kind in _RECTIFIERS or seen_layer):
                shares[name] = values[key]
            seen_layer |= f"{name}.weight" in self.facts
        return max(shares.items(), key=lambda item: item[1]) if shares else None

    @cached_property
    def initial_dead_unit_share(self) -> tuple[str, float]:
        """(layer, share of its units that are silent) for the layer with the largest share.

        Of the first three sampled steps the one where that share is least; ("", 0.0) where none was sampled.
        """
        found = [self.dead_unit_share("silent_now", step) for step in sorted(self.modules)[:3]]
        known = [each for each in found if each is not None]
        return min(known, key=lambda each: each[1]) if known else ("", 0.0)
