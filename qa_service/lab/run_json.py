"""Runs as JSON, never pickles: an attacker who can write to a cache may falsify numbers, but cannot run code.

inf and nan are written as Python's `json` writes and reads them, so that the word "NaN" in a row stays a word.
"""

import json
from collections.abc import Sequence
from typing import Any

from qa_service.model import Experiment, Row, Run, RunStatus, Text

MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What `run_from_json` and `rows_from_json` raise for a text that their counterparts did not write."""


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
    """The run of this experiment that `run_to_json` wrote. Raises one of `MALFORMED` for another text."""
    fields = json.loads(text)
    status, note, measured, measured_at = (fields[name] for name in ("status", "note", "measured", "at"))
    if status == RunStatus.RAN and measured.keys() != experiment.metrics.keys():
        raise ValueError(measured)
    return Run(
        status=RunStatus(status),
        note=Text(str(note["zh"]), str(note["en"])),
        measured=measured,
        rows=tuple(_row(row) for row in fields["rows"]),
        seconds=float(fields["seconds"]),
        versions={str(name): str(release) for name, release in fields["versions"].items()},
        machine=str(fields["machine"]),
        environment=tuple(str(each) for each in fields["environment"]),
        used_rng=bool(fields["random"]),
        measured_at=None if measured_at is None else float(measured_at),
    )


def rows_to_json(rows: Sequence[Row]) -> str:
    """Rows as they are sent while their run goes on, on one line."""
    return _one_line([dict(row) for row in rows])


def rows_from_json(text: str) -> list[Row]:
    """The rows that `rows_to_json` wrote. Raises one of `MALFORMED` for another text."""
    return [_row(row) for row in json.loads(text)]


def _one_line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _row(value: Any) -> Row:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value
