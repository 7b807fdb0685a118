"""`numstab trace to-csv`: writes a trace of the recorder as CSV."""

import csv
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qa_service.fronts.terminal import options
from qa_service.model.training_run import TrainingRun
from qa_service.settings import Settings

_TABLES = ("steps", "parameters", "modules")


def add_commands(parsers: Any) -> None:
    """Adds the command `trace` with the verb `to-csv`."""
    parser: ArgumentParser = parsers.add_parser("trace", help="convert a trace that numstab.watch has recorded")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    to_csv = verbs.add_parser("to-csv", help="write it as CSV to standard output")
    to_csv.add_argument("file", metavar="FILE", help="such as numstab-trace.jsonl.gz")
    to_csv.add_argument("--table", choices=_TABLES, default="steps", help="the table to write (default: steps)")
    to_csv.set_defaults(run_with_settings=_to_csv)


def _to_csv(arguments: Namespace, settings: Settings) -> int:
    """Writes the table; raises `BadField` if the file cannot be read, `BadTrace` if it is not a trace."""
    try:
        data = Path(arguments.file).read_bytes()
    except OSError as error:
        raise options.unreadable_file(arguments.file, error, "FILE") from error
    from qa_service.diagnosis.trace_file import read_trace

    run = read_trace(data)
    rows = _steps(run) if arguments.table == "steps" else _layers(run, arguments.table.removesuffix("s"))
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    return options.EXIT_OK


def _steps(run: TrainingRun) -> Iterator[list[Any]]:
    """The head and the rows of a table with a column for each series."""
    keys = list(run.series)
    by_step: dict[int, dict[str, float]] = {}
    for key in keys:
        for record in run.series[key]:
            by_step.setdefault(record.step or 0, {})[key] = record.value
    yield ["step", *keys]
    for step in sorted(by_step):
        yield [step, *(by_step[step].get(key, "") for key in keys)]


def _layers(run: TrainingRun, kind: str) -> Iterator[list[Any]]:
    """The head and the rows of a table of the statistics of parameters or modules."""
    records = [record for record in run.layers if record.kind == kind and record.step >= 0]
    keys = sorted({key for record in records for key in record.values})
    yield ["step", "name", *keys]
    for record in records:
        yield [record.step, record.layer, *(record.values.get(key, "") for key in keys)]
