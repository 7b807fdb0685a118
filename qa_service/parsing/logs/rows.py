"""Rows of a training run, from whatever file: values under the names that it gives them, at a step."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from qa_service.model.training_run import Record
from qa_service.parsing.logs.formats import BY_ID
from qa_service.parsing.logs.names import choose_names, meaning_of

_MAX_SERIES = 200
"""Of more names, those with the most values are kept."""
_SEVERAL_WRITERS = 1.5
_RECENT_STEPS = 16


@dataclass(slots=True)
class LogRow:
    """The values of one line or record."""

    number: int
    """The line, from 1; of a file without lines the record."""
    form: str
    text: str
    values: dict[str, float]
    """Name, as the file has it, → value."""
    step: float | None = None
    steps_per_epoch: float | None = None
    """Where the step is counted anew in each epoch."""
    epoch: float | None = None
    validation: bool = False
    counter: str = ""
    """What counts the step; steps of different counters are not compared."""
    in_epoch: bool = False
    """Whether the step is known to be counted anew in each epoch, or by each bar."""


@dataclass(slots=True)
class RowSeries:
    """The rows as series."""

    series: dict[str, list[Record]]
    keys: dict[str, str]
    """Name → key of its series."""
    steps: list[int | None]
    """For each row."""
    restarts: list[int] = field(default_factory=list)
    """Indices of the rows whose step goes back."""
    by_epoch: bool = False
    """Whether the steps are epochs, because no row has a step."""


def make_series(rows: Sequence[LogRow], *, has_lines: bool = True) -> RowSeries:
    """The series of the rows, each key from one name, with steps that count over the whole run."""
    counts = Counter(name for row in rows for name in row.values)
    kept = {name: count for name, count in counts.most_common(_MAX_SERIES) if not _is_place(name)}
    keys = choose_names(kept)
    steps, restarts = _count_steps(rows)
    by_epoch = all(step is None for step in steps) and _are_whole([row.epoch for row in rows])
    if by_epoch:
        steps = [_whole(row.epoch) for row in rows]
    series: defaultdict[str, list[Record]] = defaultdict(list)
    for row, step in zip(rows, steps, strict=True):
        number = row.number if has_lines else None
        for name, value in row.values.items():
            key = keys.get(name)
            if key is not None:
                series[key].append(Record(step, number, value))
    return RowSeries(dict(series), keys, steps, restarts, by_epoch and any(step is not None for step in steps))


def _are_whole(epochs: Sequence[float | None]) -> bool:
    known = [epoch for epoch in epochs if epoch is not None]
    return bool(known) and all(epoch.is_integer() for epoch in known)


def _is_place(name: str) -> bool:
    return meaning_of(name) in ("step", "epoch")


def _count_steps(rows: Sequence[LogRow]) -> tuple[list[int | None], list[int]]:
    """The step of each row over the whole run, and the rows where a counter of the whole run goes back."""
    steps: list[int | None] = [_whole(row.step) for row in rows]
    by_counter: defaultdict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if steps[index] is not None:
            by_counter[f"{row.counter}{' validation' if row.validation else ''}"].append(index)
    restarts: list[int] = []
    for counter, indices in by_counter.items():
        if _counts_in_epoch(rows, indices):
            _add_epochs(rows, indices, steps)
        elif not counter.endswith(" validation"):
            restarts += _going_back(indices, steps)
    _place_validations(rows, steps)
    return steps, sorted(restarts)


def _place_validations(rows: Sequence[LogRow], steps: list[int | None]) -> None:
    """A validation counts its own batches, or nothing: it stands at the step of the training before it."""
    last: int | None = None
    for index, row in enumerate(rows):
        if not row.validation:
            last = steps[index] if steps[index] is not None else last
        elif row.step is None or row.steps_per_epoch is not None or row.in_epoch:
            steps[index] = steps[index] if last is None and not row.in_epoch else last


def _counts_in_epoch(rows: Sequence[LogRow], indices: Sequence[int]) -> bool:
    """Whether a counter begins anew in each epoch: its format says so, or it goes back where the epoch goes on."""
    if rows[indices[0]].in_epoch:
        return True
    back = on = 0
    for before, after in pairwise(indices):
        first, second = rows[before], rows[after]
        epoch, later = _whole(first.epoch), _whole(second.epoch)
        if epoch is None or later is None or later <= epoch:
            continue
        falls = (second.step or 0) < (first.step or 0)
        back, on = back + falls, on + (not falls and second.step != first.step)
    return back > on


def _add_epochs(rows: Sequence[LogRow], indices: Sequence[int], steps: list[int | None]) -> None:
    """Adds the steps of the epochs before: as many as an epoch has, or as were seen of each."""
    epochs = [int(epoch) for index in indices if (epoch := rows[index].epoch) is not None and math.isfinite(epoch)]
    form = BY_ID.get(rows[indices[0]].form)
    base = 0 if not epochs or min(epochs) == 0 else form.first_epoch if form else 1
    offset, highest, last = 0, 0, -math.inf
    for index in indices:
        row, step = rows[index], steps[index] or 0
        steps_per_epoch = _whole(row.steps_per_epoch)
        if row.epoch is not None and math.isfinite(row.epoch) and steps_per_epoch:
            steps[index] = _whole(max(0, int(row.epoch) - base) * steps_per_epoch + step)
            continue
        if step < last:
            offset += highest
            highest = 0
        last, highest = step, max(highest, step)
        steps[index] = offset + step


def _going_back(indices: Sequence[int], steps: Sequence[int | None]) -> list[int]:
    """The rows where the step is lower than before. Lines that several processes write out of order are none."""
    known = [steps[index] or 0 for index in indices]
    several = len(known) > _SEVERAL_WRITERS * len(set(known))
    recent: deque[int] = deque(maxlen=_RECENT_STEPS)
    restarts = []
    for index, step in zip(indices, known, strict=True):
        if recent and step < recent[-1] and not (several and step >= min(recent)):
            restarts.append(index)
            recent.clear()
        recent.append(step)
    return restarts


def _whole(value: float | None) -> int | None:
    return int(value) if value is not None and math.isfinite(value) and abs(value) < 2**63 else None


def canonical_values(row: LogRow, keys: Mapping[str, str]) -> dict[str, float]:
    """The values of a row under the keys of their series, without means: what signs are derived from."""
    return {
        key: value
        for name, value in row.values.items()
        if (key := keys.get(name)) and _gives_signs(key) and (meaning_of(name) == key or "loss" in key)
    }


def _gives_signs(key: str) -> bool:
    """Means keep an old nan for ever, and a perplexity overflows where the loss does not."""
    return not key.endswith("_average") and key != "perplexity"
