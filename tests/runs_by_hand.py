"""Builds training runs for tests from given values of their series."""

import math
import random
from collections.abc import Iterable, Sequence

from qa_service.model.training_run import Record, TrainingEvent, TrainingRun

NAN, INF = math.nan, math.inf


def run_of(
    loss: Sequence[float] = (),
    *,
    every: int = 1,
    steps: bool = True,
    from_start: bool = True,
    events: Iterable[TrainingEvent] = (),
    settings: dict[str, float | str] | None = None,
    trainer: str = "",
    **series: Sequence[float],
) -> TrainingRun:  # fmt: skip
    """A run whose series have a record in each line, `every` steps apart."""
    named = {"loss": loss, **series} if loss else series
    return TrainingRun(
        source="log",
        format=trainer,
        from_start=from_start,
        events=tuple(events),
        settings=settings or {},
        lines=max((len(values) for values in named.values()), default=0),
        series={
            key: tuple(Record(index * every if steps else None, index + 1, value) for index, value in enumerate(values))
            for key, values in named.items()
        },
    )


def message(id_: str, text: str, line: int = 1) -> TrainingEvent:
    """A known message in a log."""
    return TrainingEvent(kind="message", name=id_, text=text, line=line)


def skip(line: int, step: int | None = None) -> TrainingEvent:
    """The message that an update was skipped."""
    return TrainingEvent(kind="skipped_update", text="Gradient overflow. Skipping step", line=line, step=step)


def decay(count: int, first: float = 2.3, last: float = 0.4, noise: float = 0.0, seed: int = 0) -> list[float]:
    """A loss that falls exponentially, with relative noise."""
    rng = random.Random(seed)
    return [(last + (first - last) * math.exp(-4 * i / count)) * (1 + noise * rng.gauss(0, 1)) for i in range(count)]


def constant_level(count: int, value: float, noise: float = 0.0, seed: int = 1) -> list[float]:
    """Values around a constant level, with relative noise."""
    rng = random.Random(seed)
    return [value * (1 + noise * rng.gauss(0, 1)) for _ in range(count)]
