"""kb/checked.json: when the claims of each entry were last checked, on which versions and over how many seeds.

Written by `numstab check --record`, one line an entry. A record holds for the evidence that was checked: once a claim,
a parameter or the code of an experiment differs, it is no longer current.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from typing_extensions import TypedDict

from qa_service.files import write_atomically
from qa_service.model import CheckRecord, EvidenceBlock, Experiment
from qa_service.parse_cache import ParseCache

FILE_NAME = "checked.json"


class RecordFields(TypedDict):
    """The record of an entry's check: the date, the number of seeds, versions of libraries, and `evidence_hash`."""

    on: str
    seeds: int
    versions: dict[str, str]
    evidence: str


Records = Mapping[str, RecordFields]
"""Entry id → its record."""


def evidence_hash(blocks: Iterable[EvidenceBlock], experiments: Mapping[str, Experiment]) -> str:
    """SHA-256 of what a check of these blocks depends on: code, parameters, and claims without their wording."""
    parts = [
        [
            experiments[block.experiment].hash,
            sorted(block.params.items()),
            [
                (
                    claim.id,
                    claim.metric,
                    claim.op,
                    claim.bound,
                    sorted(claim.control.items()),
                    claim.expected_verdict,
                    claim.min_share,
                )
                for claim in block.claims
            ],
        ]
        for block in blocks
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_records(folder: Path, parsed: ParseCache | None = None) -> dict[str, RecordFields]:
    """The records of `folder`; none if there is no file. Raises ValueError for a file that is not such a table.

    A text that `parsed` holds is not checked again, so that a question in the terminal does not import pydantic.
    """
    try:
        text = (folder / FILE_NAME).read_text("utf-8")
    except FileNotFoundError:
        return {}
    records: dict[str, RecordFields] = (parsed or ParseCache()).get("check records", text, _parse_records)
    return records


def _parse_records(text: str) -> dict[str, RecordFields]:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    kept_with_more = ConfigDict(strict=True, extra="allow")  # of a later version, which may have more fields
    try:
        return TypeAdapter(dict[str, RecordFields], config=kept_with_more).validate_json(text)
    except ValidationError:
        raise ValueError("a table of entries, each with on, seeds, versions, evidence") from None


def write_records(folder: Path, records: Records) -> Path:
    """Writes the records, sorted by entry, one line each; returns the path."""
    lines = ",\n".join(
        f"{json.dumps(entry)}: {json.dumps(records[entry], sort_keys=True)}" for entry in sorted(records)
    )
    path = folder / FILE_NAME
    write_atomically(path, partial(Path.write_text, data=f"{{\n{lines}\n}}\n", encoding="utf-8"))
    return path


def to_checked(record: RecordFields, evidence: str) -> CheckRecord:
    """A record as a value; it is current if `evidence`, the hash of the present evidence, is the recorded one."""
    return CheckRecord(
        on=record["on"],
        seeds=record["seeds"],
        versions=record["versions"],
        current=record["evidence"] == evidence,
    )
