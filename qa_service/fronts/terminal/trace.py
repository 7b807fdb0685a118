"""`numstab trace to-csv`: a trace of the recorder as a table."""

import csv
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model.training_run import TrainingRun
from qa_service.settings import Settings

_TABLES = ("steps", "parameters", "modules")


def add_commands(parsers: Any) -> None:
    """Adds the command `trace` with its verb."""
    parser: ArgumentParser = parsers.add_parser("trace", help="a trace that numstab.watch has recorded")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    to_csv = verbs.add_parser("to-csv", help="write it as CSV to standard output")
    to_csv.add_argument("file", metavar="FILE", help="such as numstab-trace.jsonl.gz")
    to_csv.add_argument("--table", choices=_TABLES, default="steps", help="what to write; by default the steps")
    to_csv.set_defaults(run_with_settings=_to_csv)


def _to_csv(arguments: Namespace, settings: Settings) -> int:
    """Writes the table; raises `BadField` if the file cannot be read, `BadTrace` if it is no trace."""
    try:
        data = Path(arguments.file).read_bytes()
    except OSError as error:
        raise BadField(
            zh=f"读不了文件 {arguments.file!r}：{error.strerror}",
            en=f"cannot read the file {arguments.file!r}: {error.strerror}",
            field="FILE",
        ) from error
    from qa_service.diagnosis.trace_file import read_trace

    run = read_trace(data)
    rows = _steps(run) if arguments.table == "steps" else _layers(run, arguments.table.removesuffix("s"))
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    return options.EXIT_OK


def _steps(run: TrainingRun) -> Iterator[list[Any]]:
    keys = list(run.series)
    by_step: dict[int, dict[str, float]] = {}
    for key in keys:
        for record in run.series[key]:
            by_step.setdefault(record.step or 0, {})[key] = record.value
    yield ["step", *keys]
    for step in sorted(by_step):
        yield [step, *(by_step[step].get(key, "") for key in keys)]


def _layers(run: TrainingRun, kind: str) -> Iterator[list[Any]]:
    records = [record for record in run.layers if record.kind == kind and record.step >= 0]
    keys = sorted({key for record in records for key in record.values})
    yield ["step", "name", *keys]
    for record in records:
        yield [record.step, record.layer, *(record.values.get(key, "") for key in keys)]
