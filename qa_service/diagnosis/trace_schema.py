"""The lines of a trace (docs/trace.md) as pydantic models.

A value of a wrong type is one value less, not a line less: it becomes what its field is without it.
"""

import json
import math
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    OnErrorOmit,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
)

from qa_service.field_defaults import or_else
from qa_service.model.training_run import Phase

MAX_TENSORS = 2_000
MAX_MODULES = 2_000
MAX_STATISTICS = 64
_MAX_TEXT = 300
_MAX_GROUPS = 2_000
_MAX_PARSED_BY_PYDANTIC = 4_000_000  # characters
T = TypeVar("T")
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _first(count: int) -> BeforeValidator:
    """Of a list, reads only so many elements."""
    return BeforeValidator(lambda value: value[:count] if isinstance(value, list) else value)


def _objects(value: Any) -> list[Any]:
    """The objects of a list. pydantic's `OnErrorOmit` takes five times as long for many that are none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _salvaged(value: Any) -> float | None:
    """What a cell stands for that is neither a number nor null: inf and nan are words; None for what is no number.

    An integer that no float holds becomes inf.
    """
    if isinstance(value, str):
        return _NONFINITE.get(value)
    if isinstance(value, bool):
        return float(value)
    return (math.inf if value > 0 else -math.inf) if isinstance(value, int) else None


def printable(text: str) -> str:
    """The text without control characters and halves of surrogate pairs, at most 300 characters."""
    return "".join(each for each in text[:_MAX_TEXT] if each.isprintable())


_Number = StrictFloat | None
_Salvaged = Annotated[float | None, PlainValidator(_salvaged)]
# From the left, so that `_salvaged` is called for few cells.
_Cell = Annotated[_Number | _Salvaged, Field(union_mode="left_to_right")]
"""A measured number; None for what was not measured or is no number."""
_String = InstanceOf[str]  # which may hold half a surrogate pair, other than pydantic's str
_Printable = Annotated[_String, AfterValidator(printable)]
_Text = Annotated[_Printable, or_else("")]
_OptionalText = Annotated[_Printable | None, or_else(None)]
_Cells = Annotated[list[_Cell], or_else([])]
_OptionalCells = Annotated[list[_Cell] | None, or_else(None)]
_OptionalCellsByName = Annotated[dict[_String, _Cell] | None, or_else(None)]
_Matrix = Annotated[list[_OptionalCells] | None, _first(MAX_TENSORS), or_else(None)]
_Flag = Annotated[StrictBool, or_else(default=False)]
_OptionalFlag = Annotated[StrictBool | None, or_else(None)]


class _TracePart(BaseModel):
    """Base of what a trace consists of: fields of a later recorder are ignored."""

    model_config = ConfigDict(frozen=True)


class InitialParameter(_TracePart):
    """A parameter before the first step."""

    name: _Text = ""
    shape: _Cells = []
    dtype: _Text = ""
    trained: _Flag = False
    held: _Flag = False
    rms: _Cell = None
    spread: _Cell = None
    rows: _Cell = None


class ColumnNames(_TracePart):
    """The names of the cells in rows `s` and `p`."""

    s: Annotated[list[_Text], _first(MAX_STATISTICS), or_else([])] = []
    p: Annotated[list[_Text], _first(MAX_STATISTICS), or_else([])] = []


class ModuleClass(_TracePart):
    """A module by its class."""

    name: _Text = ""
    module_class: _Text = Field(default="", alias="class")


class TracedModel(_TracePart):
    """The class of the model, and its modules."""

    model_class: _Text = Field(default="", alias="class")
    modules: Annotated[list[OnErrorOmit[ModuleClass]], _first(MAX_MODULES), or_else([])] = []


class OptimizerGroup(_TracePart):
    """The settings of a group of parameters."""

    lr: _Cell = None
    betas: _Cells = []
    momentum: _Cell = None
    eps: _Cell = None
    weight_decay: _Cell = None


class TracedOptimizer(_TracePart):
    """An optimizer with its groups."""

    optimizer_class: _Text = Field(default="", alias="class")
    groups: Annotated[list[OnErrorOmit[OptimizerGroup]], _first(_MAX_GROUPS), or_else([])] = []


class TracedLoss(_TracePart):
    """What was seen of the loss before the first step."""

    kind: _Text = ""
    reduction: _Text = ""
    operations: Annotated[list[_Text], _first(24), or_else([])] = []
    guarded: Annotated[list[_Text], _first(8), or_else([])] = []
    classes: _Cell = None
    labels: _Cell = None
    ignored: _Cell = None
    target_rms: _Cell = None
    target_spread: _Cell = None
    error_rms: _Cell = None


class FirstLine(_TracePart):
    """A first line of any version, as far as it decides whether the trace is read."""

    schema_name: Annotated[_String | None, or_else(None)] = Field(default=None, alias="schema")
    parameters: Annotated[list[Any], BeforeValidator(_objects)] = []


class TraceHeader(_TracePart):
    """The first line: how the training is set up."""

    columns: Annotated[ColumnNames, or_else(ColumnNames())] = ColumnNames()
    model: Annotated[TracedModel, or_else(TracedModel())] = TracedModel()
    parameters: Annotated[list[InitialParameter], BeforeValidator(_objects)] = []
    optimizers: Annotated[list[OnErrorOmit[TracedOptimizer]], _first(_MAX_GROUPS), or_else([])] = []
    loss: Annotated[TracedLoss, or_else(TracedLoss())] = TracedLoss()
    scaler: _OptionalCellsByName = None
    device: _Text = ""
    autocast: _Text = ""
    batch: _Cell = None
    clip: _Cell = None
    steps: _Cell = None
    skipped: _Cell = None
    training: _OptionalFlag = None


class TracedFault(_TracePart):
    """The operation that made the first inf or nan; one without a phase or value is none."""

    operation: _Text = ""
    phase: Annotated[Phase | None, or_else(None)] = None
    value: _Cell = None
    place: _Text = ""
    code: _Text = ""
    module: _Text = ""
    operands: Annotated[list[_Text], _first(16), or_else([])] = []
    dtype: _Text = ""
    reproduced: _OptionalFlag = None


class TraceRow(_TracePart):
    """Any other line: a row of measurements, which is of the first kind here that it has, or else an event.

    One model for all kinds and no field that must be there: for each kind that a row is not, pydantic would copy it.
    """

    step: Annotated[StrictInt | None, Field(ge=0, lt=2**53), or_else(None)] = Field(default=None, alias="t")
    statistics: Annotated[list[_Cell] | None, _first(MAX_STATISTICS), or_else(None)] = Field(default=None, alias="s")
    """Of a step, by the columns `s` of the header."""
    parameters: _Matrix = Field(default=None, alias="p")
    """Of each parameter its statistics, by the columns `p` of the header."""
    modules: Annotated[dict[_String, _OptionalCellsByName] | None, or_else(None)] = Field(default=None, alias="m")
    """Of modules by name. These names, and those in `logged`, may not be printable."""
    logged: _OptionalCellsByName = Field(default=None, alias="x")
    """Values that the loop has logged."""

    fault: Annotated[TracedFault | None, or_else(None)] = None
    alarm: _OptionalText = None
    value: _Cell = None
    weights: Annotated[list[_Text], _first(8), or_else([])] = []
    bad_state: _Flag = False
    ignored: _Cell = None
    input_bad: _Cell = None
    target_bad: _Cell = None
    note: _OptionalText = None
    error: _OptionalText = None
    end: _OptionalText = None


_FIRST_LINE: TypeAdapter[FirstLine] = TypeAdapter(Annotated[FirstLine, or_else(FirstLine())])
_HEADER: TypeAdapter[TraceHeader] = TypeAdapter(Annotated[TraceHeader, or_else(TraceHeader())])
_ROW: TypeAdapter[TraceRow] = TypeAdapter(Annotated[TraceRow, or_else(TraceRow())])


def read_first_line(line: str) -> FirstLine:
    """The first line of a trace; one without a schema if it is no JSON object."""
    return _read(_FIRST_LINE, line) or FirstLine()


def read_header(line: str) -> TraceHeader:
    """The header; one of nothing if the line is no JSON object."""
    return _read(_HEADER, line) or TraceHeader()


def read_row(line: str) -> TraceRow:
    """The row; one without a step if the line is no JSON object."""
    return _read(_ROW, line) or TraceRow()


def _read(schema: TypeAdapter[T], line: str) -> T | None:
    """The line by a schema that takes any JSON; None if it is no JSON.

    What pydantic's parser refuses and Python's reads is read by that: halves of surrogate pairs, and values nested
    deeper than any that is looked at. So are lines longer than a recorder writes: of a value of a wrong type pydantic
    makes a copy if it has parsed it, which took 2.6 GB for a line of 30 MB, and 1 GB by Python's parser.
    """
    if len(line) <= _MAX_PARSED_BY_PYDANTIC:
        with suppress(ValidationError):
            return schema.validate_json(line)
    with suppress(ValueError, RecursionError):
        return schema.validate_python(json.loads(line))
    return None
