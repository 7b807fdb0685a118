"""Robust statistics of a run's series, its settings, and the words in which texts cite its records."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from qa_service.model.diagnosis import Harm, HarmId
from qa_service.model.training_run import Record, TrainingRun
from qa_service.model.values import Lang, Text
from qa_service.presentation.numbers import format_in_text

_NO_OBJECTIVE = re.compile(
    r"reward|returns?$|discrim|generator|critic|policy|advers|entropy$|approx_kl|value_loss|actor"
    r"|(?:^|[_/ ])(?:d|g)_?loss|loss_?(?:d|g)$|loss_(?:disc|gen)",
    re.IGNORECASE,
)
"""Names of series of reinforcement and adversarial learning, whose losses need not fall."""
_WARM_UP_SHARE = 0.9
_SIGN_CHANGES = 4
_LARGEST = 1e120
MAX_RECORDS = 4000
"""Longer series are downsampled to at most this number of records (see `downsampled`)."""
_CLIMB, _MOSTLY = 8, 0.6
"""The least length of a climb in records, and the least share of its steps that go up."""


def downsampled(run: TrainingRun) -> TrainingRun:
    """The run with at most `MAX_RECORDS` records in each series.

    Kept are the first, the last, those about the first nan or inf, and of the others some at equal distances.
    """
    if all(len(points) <= MAX_RECORDS for points in run.series.values()):
        return run
    return replace(run, series={key: _thin(points) for key, points in run.series.items()})


def _thin(points: tuple[Record, ...]) -> tuple[Record, ...]:
    count, part = len(points), MAX_RECORDS // 5
    if count <= MAX_RECORDS:
        return points
    bad = first_nonfinite(points)
    about = range(max(0, bad - part), min(count, bad + part // 2)) if bad is not None else range(0)
    spread = range(0, count, max(1, count // part))
    return tuple(points[index] for index in sorted({*range(part), *about, *spread, *range(count - part, count)}))


def records(run: TrainingRun, key: str) -> tuple[Record, ...]:
    """A series; empty if the run has none of this name."""
    return run.series.get(key, ())


def finite_records(points: Sequence[Record]) -> list[Record]:
    """The records whose value is finite."""
    return [point for point in points if math.isfinite(point.value)]


def values_of(points: Sequence[Record]) -> list[float]:
    """The values alone, those of finite ones limited to what can be squared and added up."""
    return [min(max(point.value, -_LARGEST), _LARGEST) for point in points]


def shares_of(points: Sequence[Record]) -> list[float]:
    """Accuracies as shares of 1, also of a series in per cent."""
    values = values_of(points)
    return [value / 100 for value in values] if values and max(values) > 1 else values


def first_nonfinite(points: Sequence[Record]) -> int | None:
    """The index of the first nan or inf; None if there is none."""
    return next((index for index, point in enumerate(points) if not math.isfinite(point.value)), None)


def rolling_medians(values: Sequence[float]) -> list[float]:
    """Rolling medians, of three to five values; of fewer than six values the values themselves."""
    if len(values) < 6:
        return list(values)
    half = 1 if len(values) < 15 else 2
    return [median(values[max(0, index - half) : index + half + 1]) for index in range(len(values))]


def noise_deviation(values: Sequence[float]) -> float:
    """The standard deviation of a value about its trend, from the median absolute deviation of the differences."""
    steps = [after - before for before, after in pairwise(values)]
    if len(steps) < 2:
        return 0.0
    middle = median(steps)
    return 1.4826 * median(abs(step - middle) for step in steps) / math.sqrt(2)


def start_level(values: Sequence[float]) -> float:
    """The initial level of a series: its first value, or of a longer one the median of the first three."""
    return values[0] if len(values) < 9 else median(values[:3])


def end_level(values: Sequence[float]) -> float:
    """The final level of a series: its last value, or of a longer one the median of the last three to ten."""
    return values[-1] if len(values) < 9 else median(values[-min(10, max(3, len(values) // 20)) :])


def share_ascending(values: Sequence[float]) -> float:
    """The share of steps of a series that go up; 0 of a single value."""
    steps = [after > before for before, after in pairwise(values)]
    return sum(steps) / len(steps) if steps else 0.0


def rising_tail(points: Sequence[Record]) -> list[Record]:
    """The records at the end from which on every value is above the one before."""
    start = len(points) - 1
    while start > 0 and points[start - 1].value < points[start].value:
        start -= 1
    return list(points[max(start, 0) :])


def climbing_tail(points: Sequence[Record]) -> list[Record]:
    """The records at the end over which the values rise, noise aside, from their lowest level; [] if they do not."""
    smoothed = rolling_medians(values_of(points))
    start = len(smoothed) - 1 - smoothed[::-1].index(min(smoothed)) if smoothed else 0
    tail = smoothed[start:]
    return list(points[start:]) if len(tail) >= _CLIMB and share_ascending(tail) >= _MOSTLY else []


def equal_tail(points: Sequence[Record]) -> list[Record]:
    """The records at the end whose value is the same to all digits."""
    start = len(points) - 1
    while start > 0 and points[start - 1].value == points[-1].value:
        start -= 1
    return list(points[max(start, 0) :])


def step_span(points: Sequence[Record]) -> int | None:
    """Steps from the first record to the last; None where steps are not known, or begin anew in each epoch."""
    steps = [point.step for point in points if point.step is not None]
    if len(steps) < 2 or any(after < before for before, after in pairwise(steps)):
        return None
    return steps[-1] - steps[0]


def loss_is_objective(run: TrainingRun) -> bool:
    """Whether training should lower the loss: not in reinforcement or adversarial learning, nor about 0.

    The kind of learning is told by the names of the series, "about 0" by four changes of sign or more.
    """
    signs = [point.value > 0 for point in records(run, "loss") if point.value and math.isfinite(point.value)]
    if sum(one != other for one, other in pairwise(signs)) >= _SIGN_CHANGES:
        return False
    return not any(_NO_OBJECTIVE.search(key) for key in run.series)


def warms_up(run: TrainingRun) -> bool:
    """Whether the learning rate is still rising at the end of what is seen."""
    rates = values_of(finite_records(records(run, "lr")))
    return len(rates) >= 3 and rates[-1] > rates[0] and share_ascending(rates) >= _WARM_UP_SHARE


def rate_at(run: TrainingRun, point: Record | None) -> float | None:
    """The learning rate last logged up to a record, else the first logged; without a record, the last logged.

    If none is logged, that of the settings; None if they have none either.
    """
    rates = [each for each in records(run, "lr") if math.isfinite(each.value)]
    if point is not None:
        before = [each for each in rates if _is_before(each, point)]
        rates = before or rates[:1]
    if rates:
        return rates[-1].value
    given = run.settings.get("lr")
    return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else None


def _is_before(one: Record, other: Record) -> bool:
    if one.step is not None and other.step is not None:
        return one.step <= other.step
    return one.line is not None and other.line is not None and one.line <= other.line


def setting(run: TrainingRun, name: str) -> str:
    """A setting in lower case; "" if it is not known."""
    return str(run.settings.get(name, "")).lower()


def number_setting(run: TrainingRun, name: str) -> float | None:
    """A setting that is a finite number; None if it is not known."""
    value = run.settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def uses_float16(run: TrainingRun) -> bool:
    """Whether the run computes in float16, as its settings, a loss scale or skipped updates show."""
    dtype = setting(run, "autocast") or setting(run, "dtype")
    if dtype:
        return dtype in ("fp16", "half", "16", "16-mixed") or ("float16" in dtype and "bfloat16" not in dtype)
    return any(point.value != 1 for point in records(run, "loss_scale")) or any(
        event.kind == "skipped_update" for event in run.events
    )


def uses_bfloat16(run: TrainingRun) -> bool:
    """Whether the settings say bfloat16."""
    return "bf" in (setting(run, "autocast") or setting(run, "dtype"))


def uses_full_precision(run: TrainingRun) -> bool:
    """Whether the settings say float32 or float64."""
    return (setting(run, "autocast") or setting(run, "dtype")) in (
        "float32",
        "fp32",
        "32",
        "32-true",
        "float64",
        "fp64",
        "tf32",
    )


def is_adaptive(run: TrainingRun) -> bool | None:
    """Whether the optimizer divides by the size of the gradient, as Adam does; None if the optimizer is not known."""
    name = setting(run, "optimizer")
    return None if not name else any(word in name for word in ("adam", "rms", "adafactor", "lion", "lamb", "adagrad"))


def quoted_number(value: float, lang: Lang) -> str:
    """A number as a sentence quotes it."""
    return format_in_text(value, lang)


def place_text(point: Record, lang: Lang) -> str:
    """The position of a record in words: "step 1284, line 37"; "the last record" if neither is known."""
    if point.step is not None and point.line is not None:
        return f"第 {point.step} 步·第 {point.line} 行" if lang == "zh" else f"step {point.step}, line {point.line}"
    if point.step is not None:
        return f"第 {point.step} 步" if lang == "zh" else f"step {point.step}"
    if point.line is not None:
        return f"第 {point.line} 行" if lang == "zh" else f"line {point.line}"
    return "最后一处" if lang == "zh" else "the last record"


def format_text(zh: str, en: str, **shown: float | str | Record) -> Text:
    """A text with numbers, words and places filled in, each as the language writes it."""

    def words(lang: Lang) -> dict[str, str]:
        return {name: _word(value, lang) for name, value in shown.items()}

    return Text(zh.format(**words("zh")), en.format(**words("en")))


def _word(value: float | str | Record, lang: Lang) -> str:
    if isinstance(value, Record):
        return place_text(value, lang)
    return value if isinstance(value, str) else quoted_number(value, lang)


def lines_of(*points: Record | None) -> tuple[int, ...]:
    """The lines of records, each once, in order."""
    return tuple(sorted({point.line for point in points if point is not None and point.line is not None}))


def harm_of_records(name: HarmId, text: Text, *points: Record) -> Harm:
    """A harm with these records as its lines, dated at the step of the last."""
    return Harm(id=name, text=text, lines=lines_of(*points), step=points[-1].step)
