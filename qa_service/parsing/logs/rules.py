"""Rules that derive signs from the values of a log. A healthy log gives none.

Thresholds are wide: a rule fires where a run is sick beyond doubt, and is silent where noise could look the same.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from qa_service.model.observation import Observation, Sign
from qa_service.parsing.logs.formats import BY_ID
from qa_service.parsing.logs.messages import MESSAGES, find_message
from qa_service.parsing.logs.reading import LogLine, Point
from qa_service.patterns import lazy_pattern

Series = Mapping[str, Sequence[Point]]
_Found = tuple[str, LogLine, str]
"""(sign as "kind:value", the line, the key whose fragment says so, or "")."""

PLACE_OF: Mapping[str, str] = {
    "loss": "loss", "val_loss": "loss", "grad_norm": "gradient", "accuracy": "metric", "val_accuracy": "metric",
    "loss_scale": "scale",
}  # fmt: skip
_KNOWN_CLASSES = (2, 3, 4, 5, 10, 20, 100, 200, 1000, 10000, 21843, 30522, 32000, 50257, 50304, 128256, 151936)
_CHANCE_RECORDS = 4
"""Records at ln C from which on a loss is at chance; the first few of a healthy run may be there too."""
_GROWING = 3.0
"""A gradient norm or loss that rises by this factor right before a nan grows."""
_GROWING_AT_END = 10.0
"""The same at the end of a log without a nan, in at least four rising records."""
_SPIKE = 3.0
_SPIKE_SHARE = 0.2  # of the first loss; below, a relative jump is noise of a converged run
_SETTLED = 3
"""Finite records after the last skipped update, from which on the scale has been found."""
_FALLEN = 8.0
_SCALE_FLOOR = 1.0
_FIRST_STEPS = 1
_LATER_RECORDS = 2
_LATER_STEPS = 20
_MAX_FRAGMENT_CHARS = 60
_FROM_SCALE = lazy_pattern(r"attempted loss scale: *([\d.e+-]+)|loss scale from ([\d.e+-]+)", re.IGNORECASE)


def is_bad(key: str, value: float) -> bool:
    """Whether a value is nan or inf, where a finite one is expected."""
    return key not in ("step", "epoch") and not math.isfinite(value)


def is_overflow(line: LogLine) -> bool:
    """Whether a line says that an update was skipped because of an overflow."""
    return line.message in ("deepspeed_overflow", "deepspeed_overflow_short", "gradient_overflow")


def scale_before(lines: Iterable[LogLine]) -> float | None:
    """The loss scale before its first reduction; None if no line names it."""
    for line in lines:
        if is_overflow(line):
            match = _FROM_SCALE.search(line.text)
            return _number(match[1] or match[2]) if match else None
    return None


def _number(word: str) -> float | None:
    try:
        return float(word.rstrip("."))
    except ValueError:
        return None


def observe_log(lines: Sequence[LogLine], series: Series, classes: int | None) -> tuple[Observation, ...]:
    """Every sign once, with the fragment of the first line that shows it, in the order of the log."""
    found = [
        *_settings(lines), *_messages(lines), *_nonfinite(lines), *_hidden_by_filter(lines), *_zeros(series, lines),
        *_constant(series, lines), *_chance(series, lines, classes), *_growth(series, lines), *_spikes(series, lines),
        *_scale(lines),
    ]  # fmt: skip
    first: dict[str, tuple[LogLine, str]] = {}
    for sign, line, key in found:
        if sign not in first or line.number < first[sign][0].number:
            first[sign] = (line, key)
    ordered = sorted(first.items(), key=lambda each: each[1][0].number)
    return tuple(Observation(sign=Sign.parse(sign), text=_fragment(line, key)) for sign, (line, key) in ordered)


def observe_messages(text: str) -> tuple[Observation, ...]:
    """The signs of known messages in a text that need not be a log."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if known := find_message(line):
            for sign in known[0].signs:
                found.setdefault(sign, known[1])
    return tuple(
        Observation(sign=Sign.parse(sign), text=_shorten(words)) for sign, words in found.items()
    )  # fmt: skip


def _fragment(line: LogLine, key: str) -> str:
    return _shorten(line.fragments.get(key) or line.text)


def _shorten(text: str) -> str:
    return " ".join(text.split())[:_MAX_FRAGMENT_CHARS]


def _settings(lines: Sequence[LogLine]) -> Iterator[_Found]:
    for line in lines:
        form = BY_ID.get(line.format)
        if form and form.sign:
            yield f"in:{form.sign}", line, ""


_SIGNS_OF_MESSAGES = {message.id: message.signs for message in MESSAGES}


def _messages(lines: Sequence[LogLine]) -> Iterator[_Found]:
    for line in lines:
        for sign in _SIGNS_OF_MESSAGES.get(line.message, ()):
            yield sign, line, ""


def _nonfinite(lines: Sequence[LogLine]) -> Iterator[_Found]:
    """Nan and inf, where they stand, and whether from the first record on or later."""
    for line in lines:
        for key, value in line.values.items():
            if not is_bad(key, value):
                continue
            yield f"what:{'nan' if math.isnan(value) else 'inf'}", line, key
            place = PLACE_OF.get(key, "loss" if "loss" in key else None)
            if place:
                yield f"where:{place}", line, key
            if key.startswith("val_") and math.isfinite(line.values.get("loss", math.nan)):
                yield "when:eval", line, key
    records = [line for line in lines if line.values.keys() & {"loss", "grad_norm"}]
    index = next((i for i, line in enumerate(records) if _is_sick(line)), None)
    if index == 0 and begins_at_start(records):
        yield "when:first_step", records[0], _sick_key(records[0])
    elif index is not None and index > 0:
        line = records[index]
        if index >= _LATER_RECORDS or (line.step or 0) >= _LATER_STEPS:
            yield "when:later", line, _sick_key(line)


def _is_sick(line: LogLine) -> bool:
    return any(is_bad(key, line.values[key]) for key in ("loss", "grad_norm") if key in line.values)


def _sick_key(line: LogLine) -> str:
    return next(key for key in ("loss", "grad_norm") if key in line.values and is_bad(key, line.values[key]))


def begins_at_start(records: Sequence[LogLine]) -> bool:
    """Whether the log shows the beginning of the run: its first record is not later than one interval of logging."""
    for positions in ([line.step for line in records], [line.epoch for line in records]):
        known = [position for position in positions if position is not None]
        if not known or positions[0] is None:
            continue
        if known[0] <= _FIRST_STEPS and positions[0] == known[0] and records[0].step is not None:
            return True
        if len(known) > 1 and known[-1] > known[0]:
            return known[0] <= 1.5 * (known[-1] - known[0]) / (len(known) - 1)
    return False


def _hidden_by_filter(lines: Sequence[LogLine]) -> Iterator[_Found]:
    """The Hugging Face logger prints a loss of 0.0 where every loss was nan, beside a grad_norm of nan."""
    for line in lines:
        if line.values.get("loss") == 0 and math.isnan(line.values.get("grad_norm", 0.0)):
            yield "what:zero", line, "loss"
            yield "where:loss", line, "loss"


def _zeros(series: Series, lines: Sequence[LogLine]) -> Iterator[_Found]:
    """A loss, gradient norm or accuracy that stays at exactly 0 to the end."""
    for key in ("loss", "grad_norm", "accuracy", "val_accuracy"):
        points = series.get(key, ())
        tail = _tail(points, lambda value: value == 0)
        if len(tail) >= (3 if "accuracy" in key else 2):
            line = _line(lines, tail[0])
            yield "what:zero", line, key
            yield f"where:{PLACE_OF[key]}", line, key


def _constant(series: Series, lines: Sequence[LogLine]) -> Iterator[_Found]:
    """The loss is the same to all digits."""
    points = series.get("loss", ())
    tail = _tail(points, lambda value: value == points[-1].value)
    if len(tail) >= _CHANCE_RECORDS and math.isfinite(tail[0].value) and tail[0].value != 0:
        line = _line(lines, tail[0])
        yield "what:flat", line, "loss"
        yield "where:loss", line, "loss"


def classes_if_flat_at_chance(points: Sequence[Point], *, in_bits: bool = False) -> int | None:
    """C if the loss stays at ln C (log2 C in bits) to the end and has never been far above; None if it does not."""
    values = [point.value for point in points if math.isfinite(point.value)]
    last = values[-12:]
    if len(last) < _CHANCE_RECORDS:
        return None
    low, high = min(last), max(last)
    mean = math.fsum(value / len(last) for value in last)
    falls = all(after < before for before, after in pairwise(last))
    if mean <= 0 or (high - low) / mean > 0.015 or falls or max(values) > 2 * mean:
        return None
    for classes in _KNOWN_CLASSES:
        expected = math.log2(classes) if in_bits else math.log(classes)
        if abs(mean / expected - 1) < 0.005:
            return classes
    return None


def _chance(series: Series, lines: Sequence[LogLine], classes: int | None) -> Iterator[_Found]:
    """The loss stays at ln C, or the accuracy at 1/2."""
    if classes is not None:
        line = _line(lines, series["loss"][-_CHANCE_RECORDS])
        yield "what:chance", line, "loss"
        yield "where:loss", line, "loss"
    for key in ("accuracy", "val_accuracy"):
        points = series.get(key, ())
        tail = _tail(points, lambda value: value in (0.5, 50.0))
        if len(tail) >= 3:
            line = _line(lines, tail[0])
            yield "what:chance", line, key
            yield "where:metric", line, key


def _growth(series: Series, lines: Sequence[LogLine]) -> Iterator[_Found]:
    """The loss or the gradient norm rises by a large factor, record by record, to a nan or to the end."""
    for key in ("loss", "grad_norm"):
        points = series.get(key, ())
        bad = next((i for i, point in enumerate(points) if not math.isfinite(point.value)), None)
        before = points[:bad] if bad is not None else points
        rising = _rising(before)
        if len(rising) < 2 or rising[0].value <= 0:
            continue
        factor = rising[-1].value / rising[0].value
        if (bad is not None and factor >= _GROWING) or (len(rising) >= 4 and factor >= _GROWING_AT_END):
            line = _line(lines, rising[-1])
            yield "what:growing", line, key
            yield f"where:{PLACE_OF[key]}", line, key


def _rising(points: Sequence[Point]) -> Sequence[Point]:
    start = len(points) - 1
    while start > 0 and points[start - 1].value < points[start].value:
        start -= 1
    return points[max(start, 0) :]


def _spikes(series: Series, lines: Sequence[LogLine]) -> Iterator[_Found]:
    """The loss jumps far above the median of the records before it, and comes back or does not."""
    points = [point for point in series.get("loss", ()) if math.isfinite(point.value)]
    if len(points) < 6 or points[0].value <= 0 or min(point.value for point in points) <= 0:
        return
    for index in range(3, len(points)):
        window = sorted(point.value for point in points[max(0, index - 9) : index])
        median = window[len(window) // 2]
        value = points[index].value
        if value > _SPIKE * median and value - median > _SPIKE_SHARE * points[0].value:
            line = _line(lines, points[index])
            yield "what:spike", line, "loss"
            yield "where:loss", line, "loss"
            after = [point for point in points[index + 1 :] if point.value < 1.5 * median]
            if after:
                yield "what:recovered", _line(lines, after[0]), "loss"
            return


def _scale(lines: Sequence[LogLine]) -> Iterator[_Found]:
    """The loss scale falls without finding its place, or is at its floor.

    A few reductions at the beginning of a run are normal.
    """
    overflows = [index for index, line in enumerate(lines) if is_overflow(line)]
    settled = overflows and sum(1 for line in lines[overflows[-1] + 1 :] if _is_finite_record(line)) >= _SETTLED
    scales = [(line, line.values["loss_scale"]) for line in lines if "loss_scale" in line.values]
    if not scales:
        return
    last_line, last = scales[-1]
    if len(overflows) >= 3 and not settled:
        yield "what:shrinking", last_line, "loss_scale"
        yield "where:scale", last_line, "loss_scale"
    highest = max(value for _, value in scales)
    if not overflows and len(scales) >= 4 and last * _FALLEN <= highest and last == min(v for _, v in scales):
        yield "what:shrinking", last_line, "loss_scale"
        yield "where:scale", last_line, "loss_scale"
    if last <= _SCALE_FLOOR < highest or (overflows and last <= _SCALE_FLOOR):
        yield "what:minimum", last_line, "loss_scale"
        yield "where:scale", last_line, "loss_scale"


def _is_finite_record(line: LogLine) -> bool:
    return "loss" in line.values and not _is_sick(line)


def _tail(points: Sequence[Point], holds: Callable[[float], bool]) -> Sequence[Point]:
    """The longest run at the end in which a test holds."""
    start = len(points)
    while start > 0 and holds(points[start - 1].value):
        start -= 1
    return points[start:]


def _line(lines: Sequence[LogLine], point: Point) -> LogLine:
    return next(line for line in lines if line.number == point.line)
