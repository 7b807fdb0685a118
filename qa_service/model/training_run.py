"""A training run as it was read from a log, a trace or a trial of a model: series, events, layers, settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from qa_service.model.observation import Observation
from qa_service.model.values import Value

RunSource = Literal["log", "trace", "trial"]
"""What the run was read from: text or a table that a trainer printed; a file of the recorder; a trial of a model."""
RunEventKind = Literal["skipped_update", "message", "traceback", "epoch", "restart"]
Phase = Literal["forward", "backward", "update", "data"]


class Record(NamedTuple):
    """One value of a series."""

    step: int | None
    line: int | None
    """The line of the log that it stands in, from 1; None in a trace."""
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent:
    """Something that happened at a step."""

    kind: RunEventKind
    text: str
    """The words of the log that say so."""
    step: int | None = None
    line: int | None = None
    name: str = ""
    """The id of a message, as in `parsing/logs/messages.py`; the exception of a traceback."""


class LayerRecord(NamedTuple):
    """The statistics of one parameter or module at one step."""

    step: int
    """−1 for the state before the first step: shape, dtype, standard deviation of the initial weights."""
    layer: str
    """Its qualified name, such as "encoder.block.2.fc"."""
    kind: Literal["parameter", "module"]
    values: Mapping[str, float]
    """Statistic → value; the names are those of the trace format, see docs/trace.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFault:
    """The operation that made the first inf or nan out of finite numbers."""

    operation: str
    """Its name in torch, such as "log" or "mm"; "" if the input data are not finite."""
    phase: Phase
    value: float
    """Its result: inf, -inf or nan."""
    step: int | None = None
    place: str = ""
    """File and line of the code that called it, such as "model.py:41"."""
    code: str = ""
    """That line of code."""
    module: str = ""
    operands: tuple[str, ...] = ()
    """A description of each operand: dtype, shape, minimum and maximum."""
    dtype: str = ""
    reproduced: bool | None = None
    """Whether a repetition of the step gave the same bits; None if it was not repeated."""
    hidden: bool = False
    """Whether the forward pass masked the result out, so that it shows only in the backward pass, as a gradient of
    0 times inf or nan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """The result of training the same module and batch again with one thing changed."""

    id: str
    """What was changed: as_is, lr/10, lr/100, float32, inputs, mean, stable_loss, init, clip, eps, skip_sample."""
    healthy: bool
    """Whether the run was healthy with it."""
    losses: tuple[float, ...]
    detail: str = ""
    """What exactly was changed, in code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A training run. A value that was not found is left out, never guessed."""

    source: RunSource
    name: str = ""
    """The name of the file, if it had one."""
    format: str = ""
    """Id of the format of a log, see `parsing/logs/formats.py`; or csv, trainer_state, event_file."""
    framework: str = ""
    series: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    """Key, as in `parsing/logs/harvest.py` (loss, grad_norm, lr, loss_scale, val_loss …) → its values in order.

    Keys that are not known there keep their own names: the components of a loss, rewards.
    """
    events: tuple[TrainingEvent, ...] = ()
    layers: tuple[LayerRecord, ...] = ()
    module_classes: Mapping[str, str] = field(default_factory=dict)
    """Qualified name of a module → its class, such as "ReLU"; "" is the model itself."""
    fault: OperationFault | None = None
    interventions: tuple[Intervention, ...] = ()
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Known settings: lr, optimizer, dtype, batch_size, classes, clip, growth_interval, log2 (losses in bits) …"""
    observations: tuple[Observation, ...] = ()
    """The signs that it shows, in the vocabulary that questions are read with."""
    lines: int = 0
    """The number of lines of a log."""
    lines_read: int = 0
    """The number of lines that were parsed: of a known format, a known message, a row of a table."""
    from_start: bool = False
    """Whether the log begins with the first steps of the run."""
    cut: bool = False
    """Whether it is incomplete: the middle was left out, or the file ends within a record."""
    excerpt: Mapping[int, str] = field(default_factory=dict)
    """Number of a line that a finding may cite → its text, shortened."""
