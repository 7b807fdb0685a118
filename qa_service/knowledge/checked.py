"""kb/checked.json: when the claims of each entry were last checked, on which versions and over how many seeds.

Written by `numstab check --record`, one line an entry. A record holds for the evidence that was checked: once a claim,
a parameter or the code of an experiment differs, it is no longer current.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qa_service.files import write_atomically
from qa_service.model import CheckRecord, EvidenceBlock, Experiment

FILE_NAME = "checked.json"
Records = Mapping[str, Mapping[str, Any]]
"""Entry id → its record: on, seeds, versions, evidence."""


def evidence_hash(blocks: Iterable[EvidenceBlock], experiments: Mapping[str, Experiment]) -> str:
    """SHA-256 of what a check of these blocks depends on: code, parameters, and claims without their wording."""
    parts = [
        [
            experiments[block.experiment].hash,
            sorted(block.params.items()),
            [
                (claim.id, claim.metric, claim.op, claim.bound, sorted(claim.control.items()), claim.expected_verdict,
                 claim.min_share)
                for claim in block.claims
            ],
        ]
        for block in blocks
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """The records of `folder`; none if there is no file. Raises ValueError for a file that is not such a table."""
    path = folder / FILE_NAME
    try:
        table = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(table, dict) or not all(_is_record(record) for record in table.values()):
        raise ValueError("a table of entries, each with on, seeds, versions, evidence")
    return table


def write_records(folder: Path, records: Records) -> Path:
    """Writes the records, sorted by entry, one line each; returns the path."""
    lines = ",\n".join(
        f"{json.dumps(entry)}: {json.dumps(records[entry], sort_keys=True)}" for entry in sorted(records)
    )
    path = folder / FILE_NAME
    write_atomically(path, partial(Path.write_text, data=f"{{\n{lines}\n}}\n", encoding="utf-8"))
    return path


def to_checked(record: Mapping[str, Any], evidence: str) -> CheckRecord:
    """A record as a value; it is current if `evidence`, the hash of the present evidence, is the recorded one."""
    return CheckRecord(
        on=record["on"],
        seeds=record["seeds"],
        versions=record["versions"],
        current=record["evidence"] == evidence,
    )


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("on"), str)
        and isinstance(record.get("seeds"), int)
        and isinstance(record.get("versions"), dict)
        and isinstance(record.get("evidence"), str)
    )
