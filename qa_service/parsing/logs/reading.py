"""The values that the reading of a pasted log gives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from qa_service.model.observation import Observation

_SEVERAL = 3  # losses that show how a run goes


class Point(NamedTuple):
    """A value of a series."""

    line: int
    """The line of the question that it stands in, from 1."""
    step: int | None
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a log."""

    number: int
    """Its place in the question, from 1; parts of a line that a progress bar has overwritten share it."""
    text: str
    format: str
    """Id of its format; "" for a message that belongs to none."""
    step: int | None = None
    epoch: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    """Key, as in `harvest.KEYS`, → value."""
    fragments: Mapping[str, str] = field(default_factory=dict)
    """Key → the part of the line that states its value."""
    message: str = ""
    """Id of the known message that it is, see `messages`; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReading:
    """A log in a question."""

    format: str
    """Id of the format that most lines have (`formats.TRAINER_LOG_FORMATS`); "" for messages and tracebacks alone."""
    framework: str
    """Its name, as people write it; "" if it is unknown."""
    lines: tuple[LogLine, ...]
    """Those that were read: all, or of a very long log the beginning, the end, and where values stop being finite."""
    count: int
    """All its lines."""
    series: Mapping[str, tuple[Point, ...]]
    """Key → its values, in the order of the log."""
    first_nonfinite: tuple[LogLine, str] | None
    """The first line with a nan or inf, and the key of that value; None if every value is finite."""
    overflows: int
    """Updates that were skipped because of an overflow."""
    scale: tuple[float, float] | None
    """The first and the last loss scale; None if the log shows none."""
    classes: int | None
    """C, if the loss stays at ln C, that of guessing among C classes."""
    observations: tuple[Observation, ...]
    """The signs it shows, with the lines' relevant parts."""
    prose: str
    """The question without the log."""

    @property
    def begins_finite(self) -> bool:
        """Whether a loss was finite on a line before the first nan or inf."""
        if self.first_nonfinite is None:
            return False
        until = self.first_nonfinite[0].number
        return any(point.line < until and math.isfinite(point.value) for point in self.series.get("loss", ()))

    @property
    def stays_finite(self) -> bool:
        """Whether it has several losses, and nothing in it is nan or inf or overflows."""
        losses = self.series.get("loss", ())
        return self.first_nonfinite is None and not self.overflows and len(losses) >= _SEVERAL

    @property
    def lr(self) -> float | None:
        """The learning rate where the values stop being finite, else the last; None if the log shows none above 0."""
        rates = [point for point in self.series.get("lr", ()) if point.value > 0]
        if not rates:
            return None
        until = self.first_nonfinite[0].number if self.first_nonfinite else rates[-1].line
        return next((point.value for point in reversed(rates) if point.line <= until), rates[0].value)
