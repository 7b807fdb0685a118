"""What demos offer, and what became of running one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from qa_service.model.values import Measured, Row, Text, Value

_NOTHING = Text("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A typed, bounded input of an experiment. `choices` for words; `ge`/`le` for numbers, both included."""

    name: str
    kind: Literal["int", "float", "bool", "choice"]
    default: Value
    title: Text
    unit: str = "1"
    ge: float | None = None
    le: float | None = None
    nonfinite: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What a metric or a column of rows is called, and its unit."""

    title: Text
    unit: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on parameters together: their product at most `le`, or the first below the second (`ascending`)."""

    names: tuple[str, ...]
    le: float | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """Another experiment that is shown beside this one where `parameter` is compared, with these parameters.

    Several names stand for the product of this experiment's own parameters of these names, one for that parameter.
    What both have by the same name, the compared parameter apart, it has from this one.
    """

    parameter: str
    experiment: str
    params: Mapping[str, Value | tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What a demo file offers, read from its text without running it.

    `file` is its path within `demos/`, whose folders are the themes; `words` are those that rows hold as values.
    """

    slug: str
    path: str
    file: str
    title: Text
    doc: str
    params: Mapping[str, Parameter]
    limits: tuple[Limit, ...]
    columns: Mapping[str, Labelled]
    metrics: Mapping[str, Labelled]
    words: Mapping[str, Text]
    chart: Mapping[str, Any]
    source: str
    hash: str
    beside: tuple[Companion, ...] = ()


class RunStatus(StrEnum):
    """How a run ended."""

    RAN = "ran"
    RAISED = "raised"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of an experiment. `note` says in both languages why it did not finish.

    Not `random` is a run that drew no random number: every seed gives the same. `cached` is one that was measured
    before, for the same code, parameters and seed.
    """

    status: RunStatus
    measured: Measured = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    note: Text = _NOTHING
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    used_rng: bool = True
    cached: bool = False
