"""Runs as JSON, never pickles: an attacker who can write to a cache may falsify numbers, but cannot run code.

inf and nan are written as Python's `json` writes and reads them, so that the word "NaN" in a row stays a word. What is
read is validated by pydantic's core alone, whose import takes an eighth of the time that pydantic's and a model take:
`numstab ask` reads kept runs (docs/decisions/0011-schemas.md).
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from qa_service.model import Experiment, Row, Run, RunStatus, Text

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator


def run_to_json(run: Run) -> str:
    """The run on one line, with every bit of its numbers, when and where it was measured; not `Run.cached`."""
    return _one_line(
        {
            "status": run.status.value,
            "note": {"zh": run.note.zh, "en": run.note.en},
            "measured": dict(run.measured),
            "rows": [dict(row) for row in run.rows],
            "seconds": run.seconds,
            "versions": dict(run.versions),
            "machine": run.machine,
            "environment": list(run.environment),
            "random": run.used_rng,
            "at": run.measured_at,
        }
    )


def run_from_json(experiment: Experiment, text: str) -> Run:
    """The run of this experiment that `run_to_json` wrote. Raises ValueError for another text."""
    fields: dict[str, Any] = _schemas()[0].validate_json(text, strict=True)
    status, measured = RunStatus(fields["status"]), fields["measured"]
    if status is RunStatus.RAN and measured.keys() != experiment.metrics.keys():
        raise ValueError(measured)
    return Run(
        status=status,
        note=Text(**fields["note"]),
        measured=measured,
        rows=tuple(fields["rows"]),
        seconds=fields["seconds"],
        versions=fields["versions"],
        machine=fields["machine"],
        environment=tuple(fields["environment"]),
        used_rng=fields["random"],
        measured_at=fields["at"],
    )


def rows_to_json(rows: Sequence[Row]) -> str:
    """Rows as they are sent while their run goes on, on one line."""
    return _one_line([dict(row) for row in rows])


def rows_from_json(text: str) -> list[Row]:
    """The rows that `rows_to_json` wrote. Raises ValueError for another text."""
    rows: list[Row] = _schemas()[1].validate_json(text, strict=True)
    return rows


def _one_line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@cache
def _schemas() -> "tuple[SchemaValidator, SchemaValidator]":
    """The schemas of a run and of rows; fields that are not known are ignored."""
    from pydantic_core import SchemaValidator
    from pydantic_core import core_schema as of

    text, number = of.str_schema(), of.float_schema()
    cell = of.nullable_schema(of.union_schema([of.bool_schema(), of.int_schema(), number, text]))
    rows = of.list_schema(of.dict_schema(text, cell))
    note = of.typed_dict_schema({lang: of.typed_dict_field(text) for lang in ("zh", "en")})
    fields = {
        "status": of.literal_schema([each.value for each in RunStatus]), "note": note, "rows": rows,
        "measured": of.dict_schema(text, cell), "seconds": number, "versions": of.dict_schema(text, text),
        "machine": text, "environment": of.list_schema(text), "random": of.bool_schema(),
        "at": of.nullable_schema(number),
    }  # fmt: skip
    run = of.typed_dict_schema({name: of.typed_dict_field(schema) for name, schema in fields.items()})
    return SchemaValidator(run), SchemaValidator(rows)
