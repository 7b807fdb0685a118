"""Tests for a loss that does not move: at chance, at a clamp, constant to all digits, flat within the noise."""

import math
from collections.abc import Sequence
from statistics import median

from qa_service.diagnosis.curves import (
    equal_tail,
    finite_records,
    noise_deviation,
    number_setting,
    records,
    rolling_medians,
    share_ascending,
    shares_of,
    start_level,
    step_span,
    values_of,
)
from qa_service.model.training_run import Record, TrainingRun

_KNOWN_CLASSES = (
    2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 21, 32, 50, 64, 80, 100, 101, 200, 256, 365, 512, 1000, 10000, 21843, 30522,
    32000, 32128, 50257, 50304, 65536, 100277, 128256, 151936, 152064,
)  # fmt: skip
_CLAMPS = {
    100.0: "-100", 87.3365: "1.18e-38", 15.3332: "1.19e-7 + 1e-7", 15.9424: "1.19e-7", 16.1181: "1e-7",
    18.4207: "1e-8", 13.8155: "1e-6",
    23.0259: "1e-10", 27.6310: "1e-12", 36.0437: "2.2e-16",
}  # fmt: skip
"""−ln of the smallest probability that a loss admits → the constant in its code."""
_FLAT = 0.02
_CONVERGED = 0.02
_SLOWLY = 0.005
_SPIKE_RATIO = 10.0
_SUMMED = 10
"""A first loss up to this many times the usual one of a mean may be a sum over few samples."""
_EXACTLY = 1e-5
_ABOVE_GUESSING = 0.15
_MAX_BLUR = 0.08
_MIN_STEPS = 50
_OF_CLASSIFIERS = ("accuracy", "val_accuracy", "perplexity")
_LANGUAGE_MODELS = ("megatron", "nanogpt", "fairseq")
"""Formats whose loss is the cross-entropy of a token."""


def classes_at_chance(run: TrainingRun) -> int | None:
    """C if the loss stays at ln C (log2 C, where losses are in bits) to the end; None if it does not."""
    values = values_of(finite_records(records(run, "loss")))
    tail = values[-12:]
    if len(tail) < 4 or min(tail) <= 0:
        return None
    mean = math.fsum(tail) / len(tail)
    falls = share_ascending(tail) == 0 and tail[0] - tail[-1] > 0.004 * mean
    if (max(tail) - min(tail)) / mean > 0.03:
        return _noisily_at_chance(run, values) or _dropped_to_chance(run, values)
    if (
        falls
        or min(rolling_medians(values)) < 0.93 * mean
        or (not run.from_start and noise_deviation(tail) > 0.002 * mean)
    ):
        return None
    found = next((classes for classes in _classes(run) if abs(mean / _chance_loss(run, classes) - 1) < 0.006), None)
    return None if found is None or _is_better_than_guessing(run, found) else found


def _is_better_than_guessing(run: TrainingRun, classes: int) -> bool:
    """Whether the accuracy is well above 1/C, so that a loss of ln C is no sign of guessing."""
    for key in ("val_accuracy", "accuracy"):
        shares = shares_of(finite_records(records(run, key)))
        if shares:
            return median(shares[-5:]) > 1 / classes + _ABOVE_GUESSING
    return False


def _classes(run: TrainingRun) -> Sequence[int]:
    known = number_setting(run, "classes")
    return [int(known)] if known and known >= 2 else _KNOWN_CLASSES


def _chance_loss(run: TrainingRun, classes: int) -> float:
    return math.log2(classes) if run.settings.get("log2") else math.log(classes)


def _noisily_at_chance(run: TrainingRun, values: Sequence[float]) -> int | None:
    """C for a loss with the noise of small batches, if the accuracy is at 1/C too; else None."""
    shares = values_of(finite_records(records(run, "accuracy")))
    half = values[len(values) // 2 :]
    if not run.from_start or len(half) < 10 or len(shares) < 10 or values[0] < 0.9 * median(half):
        return None
    accuracy = median(shares[len(shares) // 2 :]) / (100 if max(shares) > 1 else 1)
    mean, error = math.fsum(half) / len(half), 2 * noise_deviation(half) / math.sqrt(len(half))
    drift = median(half[: len(half) // 2]) - median(half[len(half) // 2 :])
    if drift > 2 * error or min(rolling_medians(values)) < 0.85 * mean:
        return None
    found = (
        classes
        for classes in _classes(run)
        if classes <= 100
        and abs(mean / _chance_loss(run, classes) - 1) < min(0.04, max(0.02, error / mean))
        and abs(accuracy - 1 / classes) < 0.4 / classes
        and (abs(values[0] / _chance_loss(run, classes) - 1) < 0.04 or max(values) > 1.3 * _chance_loss(run, classes))
    )
    return next(found, None)


def _dropped_to_chance(run: TrainingRun, values: Sequence[float]) -> int | None:
    """C of a loss that started far above ln C, fell to it at once and has only noise about it since; else None."""
    rest = values[len(values) // 3 :]
    if not run.from_start or len(rest) < 10 or values[0] < 3 * median(rest) or max(rest) > 1.1 * min(rest):
        return None
    mean, half = math.fsum(rest) / len(rest), len(rest) // 2
    if abs(median(rest[:half]) / median(rest[half:]) - 1) > 0.01:
        return None
    known = (each for each in _classes(run) if each <= 100 and abs(mean / _chance_loss(run, each) - 1) < 0.006)
    return next(known, None)


def constant_loss_tail(run: TrainingRun) -> list[Record] | None:
    """The last records whose loss is one number to all digits; None for others and for a run that has converged."""
    points = finite_records(records(run, "loss"))
    tail = equal_tail(points)
    if len(tail) < 4 or points[0].value == 0:
        return _zero_from_the_start(run, points)
    value = tail[0].value
    if abs(value) < _CONVERGED or abs(value) < 0.7 * abs(start_level(values_of(points))):
        return None
    digits = len(f"{value:.10g}".replace(".", "").replace("-", "").strip("0"))
    whole = len(tail) == len(points)
    return tail if digits >= 3 or len(tail) >= 8 or (whole and run.from_start) else None


def _zero_from_the_start(run: TrainingRun, points: Sequence[Record]) -> list[Record] | None:
    """All records, if the loss is 0 in each of three or more; else None."""
    zero = len(points) >= 3 and all(point.value == 0 for point in points)
    rewritten = run.format == "hf_trainer"  # prints a loss that is nan as 0
    return list(points) if zero and (run.from_start or rewritten) else None


def stuck_at_clamp(run: TrainingRun) -> list[Record] | None:
    """The last records, if their loss stays at the largest value of a clamped logarithm or a share of it; else None."""
    points = finite_records(records(run, "loss"))
    tail = points[-5:]
    values = values_of(tail)
    if clamped := at_exact_clamp(run):
        return clamped
    if len(equal := equal_tail(points)) >= 3 and wrong_at_clamp(run, equal[-1].value):
        return equal
    if len(tail) < 4 or min(values) <= 3 or (max(values) - min(values)) > 0.01 * max(values):
        return None
    return tail if clamp_of(median(values)) else None


def at_exact_clamp(run: TrainingRun) -> list[Record] | None:
    """The last two records of the loss, or of a part of it, if both are a clamp to five digits; else None."""
    for key in run.series:
        if "loss" not in key or key.startswith(("val_", "eval_")) or key == "loss_scale":
            continue
        tail = finite_records(records(run, key))[-2:]
        if len(tail) == 2 and any(
            all(abs(point.value / largest - 1) < _EXACTLY for point in tail) for largest in _CLAMPS if largest % 1
        ):
            return tail
    return None


def wrong_at_clamp(run: TrainingRun, value: float) -> tuple[float, float, str] | None:
    """(largest loss, share of wrong answers, the constant in the code) of a loss that is the product of the first two.

    The share is 1 − accuracy; None if no clamp fits.
    """
    shares = shares_of(finite_records(records(run, "accuracy")))
    wrong = 1 - shares[-1] if shares else 0.0
    if wrong < 0.02 or value < 1:
        return None
    return next(
        ((largest, wrong, code) for largest, code in _CLAMPS.items() if abs(value / (largest * wrong) - 1) < 0.001),
        None,
    )


def clamp_of(value: float) -> tuple[float, float, str] | None:
    """(largest loss, share of the samples at it, the constant in the code) of a loss at a clamp; None at no clamp."""
    for share in (1.0, 0.5, 0.9, 2 / 3, 1 / 3):
        for largest, code in _CLAMPS.items():
            if abs(value / (largest * share) - 1) < 0.003:
                return largest, share, code
    return None


def validation_constant(run: TrainingRun) -> list[Record] | None:
    """The validation losses, if there are four or more and all are one number to all digits; else None."""
    points = finite_records(records(run, "val_loss"))
    if len(points) < 4 or not run.from_start or len({point.value for point in points}) > 1:
        return None
    digits = len(f"{abs(points[0].value):.10g}".replace(".", "").strip("0"))
    return points if digits >= 3 and abs(points[0].value) > _CONVERGED else None


def validation_at_guessing(run: TrainingRun) -> bool:
    """Whether neither accuracy nor loss of validation has moved from a low level in four evaluations or more."""
    shares = shares_of(finite_records(records(run, "val_accuracy")))
    held_out, train = (
        values_of(finite_records(records(run, "val_loss"))),
        values_of(finite_records(records(run, "loss"))),
    )
    if not run.from_start or len(shares) < 4 or (step_span(records(run, "loss")) or 2 * _MIN_STEPS) < 2 * _MIN_STEPS:
        return False
    fell = held_out and min(held_out) < 0.9 * held_out[0]
    if (
        fell
        and min(held_out) < max(0.7, 0.5 * min(held_out[0], train[0]))
        and not _came_down_to_guessing(held_out, shares)
    ):
        return False
    spread = max(shares) - min(shares)
    if not held_out:
        return len(shares) >= 5 and 0 < max(shares) < 0.4 and spread <= 0.07 and shares[-1] <= shares[0] + 0.04
    never = len(held_out) >= 4 and min(held_out[1:]) > 0.97 * held_out[0] and shares[-1] < 0.3
    return 0 < max(shares) < 0.5 and (spread <= 0.12 or never)


def _came_down_to_guessing(held_out: Sequence[float], shares: Sequence[float]) -> bool:
    """Whether a loss has come down more than tenfold, but not below −ln p, the loss of guessing with accuracy p."""
    return held_out[0] > _SPIKE_RATIO * min(held_out) and max(shares) > 0 and min(held_out) > -math.log(max(shares))


def multiples_of_clamp(run: TrainingRun) -> bool:
    """Whether the losses are whole multiples of 100/n, as means over n samples with losses of 0 or 100 are."""
    values = values_of(finite_records(records(run, "loss")))
    if len(values) < 10 or len(set(values)) < 3 or min(values) < 3 or max(values) > 100 or not run.from_start:
        return False
    coarse = all(float(f"{value:.3g}") == value for value in values)
    tolerance = 6e-4 if any(round(value, 2) != value for value in values) else 6e-3
    sizes = (8, 16, 32, 64) if coarse and len(set(values)) >= 6 else (8, 16, 32, 64, 128)
    if coarse and len(set(values)) >= 6:
        tolerance = 0.051
    return any(
        all(abs(value * n / 100 - round(value * n / 100)) < tolerance * n / 100 for value in values)
        for n in sizes
        if tolerance * n / 100 < 0.05
    )


def gradient_always_zero(run: TrainingRun) -> bool:
    """Whether the gradient is exactly 0 in every record from the first on."""
    values = values_of(records(run, "grad_norm"))
    return run.from_start and len(values) >= 4 and not any(values)


def worse_than_guessing(run: TrainingRun) -> bool:
    """Whether a classifier's loss ends far above that of guessing, though it has had the time to learn."""
    values = values_of(finite_records(records(run, "loss")))
    if not run.from_start or len(values) < 10 or (step_span(records(run, "loss")) or _MIN_STEPS) < _MIN_STEPS:
        return False
    classes = number_setting(run, "classes")
    usual = 2 * _chance_loss(run, int(classes)) if classes and classes >= 2 else 20.0
    known = classes or run.format in _LANGUAGE_MODELS or any(records(run, key) for key in _OF_CLASSIFIERS)
    if _falls_as_a_sum(values, usual):
        return False
    return bool(known) and median(values[-5:]) > usual and (bool(classes) or not _is_accurate(run))


def _falls_as_a_sum(values: Sequence[float], usual: float) -> bool:
    """Whether a high loss falls steadily and as slowly as a mean does: a sum over a batch, or over positions.

    One that is high because weights or inputs are too large falls far below its start in a few steps, or jumps first.
    """
    first, last = start_level(values), median(values[-5:])
    return first < _SUMMED * usual and 0.3 * first < last < 0.8 * first and max(values) < 1.1 * values[0]


def is_flat(run: TrainingRun) -> bool:
    """Whether the loss of a run that is seen from its start has not moved by more than its noise."""
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    span = step_span(points)
    slow = run.format in ("hf_trainer", "llama_factory", "trainer_state", "trainer_log")
    enough = len(values) >= (20 if slow else 8) and (span is None or span >= _MIN_STEPS)
    if not run.from_start or not enough or abs(start_level(values)) < _CONVERGED:
        return False
    third = len(values) // 3
    first, last = median(values[:third]), median(values[-third:])
    if first == 0:
        return False
    spread = noise_deviation(values)
    blur = 2 * spread / math.sqrt(third) / abs(first)
    improved = (first - last) / abs(first)
    if slow and (improved > _SLOWLY or blur > 1.5 * _FLAT):  # fine-tuning of a trained model improves no faster
        return False
    if blur > _MAX_BLUR or (blur > 1.5 * _FLAT and len(values) < 20):
        return False
    allowed, reach = max(_FLAT, min(1.2 * blur, 0.06)), max(2 * _FLAT * abs(first), 2.5 * spread)
    if _validation_is_flat(run):
        allowed, reach = 0.1, max(reach, 0.15 * abs(first))
    return (
        -0.15 < improved < allowed
        and min(rolling_medians(values)) > first - reach
        and (start_level(values) < 1.3 * first or values[0] < 1.3 * first)
        and not _improves_otherwise(run)
    )


def _validation_is_flat(run: TrainingRun) -> bool:
    """Whether the validation loss, which has less noise, has not moved either."""
    values = values_of(finite_records(records(run, "val_loss")))
    return len(values) >= 3 and min(values) > 0.97 * values[0] > 0


def _improves_otherwise(run: TrainingRun) -> bool:
    """Whether accuracy or validation says that something is learned, or that little is left to learn."""
    if _is_accurate(run):
        return True
    held_out = values_of(finite_records(records(run, "val_loss")))
    if len(held_out) >= 2 and min(held_out) < 0.9 * held_out[0]:
        return True
    shares = values_of(finite_records(records(run, "accuracy")))
    third = len(shares) // 3
    rise = median(shares[-third:]) - median(shares[:third]) if third else 0.0
    return third > 0 and rise > 0.1 * (100 if max(shares) > 1 else 1)


def _is_accurate(run: TrainingRun) -> bool:
    """Whether the accuracy says that there is little left to learn."""
    for key in ("accuracy", "val_accuracy"):
        values = values_of(finite_records(records(run, key)))
        if values and (0.8 <= values[-1] <= 1 or 80 <= values[-1] <= 100):
            return True
    return False
