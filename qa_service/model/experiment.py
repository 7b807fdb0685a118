"""Experiments, as declared by demo files, and runs of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from qa_service.model.values import MetricValues, Row, Text, Value

_NO_NOTE = Text("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A typed, bounded input of an experiment. `ge` and `le` are inclusive bounds of numbers; None means no bound.

    For the kind "text", `le` is the maximal number of characters.
    """

    name: str
    kind: Literal["int", "float", "bool", "choice", "text"]
    default: Value
    title: Text
    unit: str = "1"
    ge: float | None = None
    le: float | None = None
    nonfinite: bool = False
    """Whether inf, -inf and nan are allowed."""
    choices: tuple[str, ...] = ()
    """The values of the kind "choice"."""
    grammar: Literal["formula", "formulas", "values", ""] = ""
    """What the kind "text" holds: a formula, formulas on lines of their own, or values of variables (x=1 y=-5..5).

    Formulas reach the experiment as S-expressions.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """Title and unit of a metric or of a column of the rows; the unit "1" means dimensionless."""

    title: Text
    unit: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A constraint on parameters: their product is at most `le`, or, if ascending, the first less than the second."""

    names: tuple[str, ...]
    le: float | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """Another experiment that runs along with this one when `parameter` is compared (`BESIDE` in a demo)."""

    parameter: str
    experiment: str
    """The slug of the experiment."""
    params: Mapping[str, Value | tuple[str, ...]]
    """Its parameters: a value, or a tuple of names of this experiment's parameters, whose product is the value.

    Parameters that are not given here and exist in both, except the compared one, have this experiment's values.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The declaration of a demo file, parsed without running it."""

    slug: str
    path: str
    """The path of the demo file on this machine."""
    file: str
    """The path within `demos/`, whose folders are the themes."""
    title: Text
    doc: str
    params: Mapping[str, Parameter]
    limits: tuple[Limit, ...]
    columns: Mapping[str, FieldInfo]
    metrics: Mapping[str, FieldInfo]
    words: Mapping[str, Text]
    """Translations of the words that rows hold as values."""
    chart: Mapping[str, Any]
    """A Vega-Lite specification without data."""
    source: str
    hash: str
    """SHA-256 of the source, hexadecimal."""
    companions: tuple[Companion, ...] = ()


class RunStatus(StrEnum):
    """How a run ended."""

    RAN = "ran"
    RAISED = "raised"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of an experiment."""

    status: RunStatus
    measured: MetricValues = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    note: Text = _NO_NOTE
    """Why it did not finish; empty if it did."""
    seconds: float = 0.0
    """Wall-clock time of the demo's `run`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package → version."""
    machine: str = ""
    """The machine that executed it, as a receipt names it; empty if nothing was executed."""
    environment: tuple[str, ...] = ()
    """What the bits of its results depend on besides source, parameters and seed (`qa_service.machine.environment`)."""
    used_rng: bool = True
    """False if it drew no random number, so that every seed gives the same result."""
    cached: bool = False
    """True if it was measured earlier, for the same source, parameters and seed."""
    measured_at: float | None = None
    """When it was measured, in seconds since 1970; None if that is not known."""
