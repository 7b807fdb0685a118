"""`numstab diagnose`: what is wrong with a training run, from its log or trace."""

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from qa_service.answering import diagnosing
from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import diagnosis_report, options
from qa_service.model import Lang

_MAX_INPUT_BYTES = 64 << 20
"""The size in bytes of the largest file that is read."""


def add_commands(parsers: Any) -> None:
    """Adds the command `diagnose`."""
    parser: ArgumentParser = parsers.add_parser(
        "diagnose",
        help="say what is wrong with a training run, from its log or trace",
        description="Reads a training log (any trainer's, CSV, trainer_state.json, an event file) or a trace, and "
        "says what is wrong, on which evidence, and what to do.",
        epilog=diagnosis_report.EXIT_STATUSES,
    )
    parser.add_argument("file", metavar="FILE", help="the log or trace; - reads standard input")
    options.add_lang(parser)
    options.add_json(parser)
    parser.add_argument("--no-run", action="store_true", help="run no experiment")
    parser.set_defaults(run_with_service=run_with_service)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Prints the diagnosis; returns the exit status."""
    diagnosis = diagnosing.diagnose_file(_read(arguments.file), "" if arguments.file == "-" else arguments.file)
    return diagnosis_report.print_report(
        diagnosis, lang, as_json=arguments.json, service=service, run=not arguments.no_run
    )


def _read(path: str) -> bytes:
    """The contents of a file, or of standard input for "-"; raises `BadField` if it cannot be read or is too large."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_MAX_INPUT_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise options.unreadable_file(path, error) from error
    if len(data) > _MAX_INPUT_BYTES:
        raise BadField(
            zh=f"文件太大，最多 {_MAX_INPUT_BYTES >> 20} MiB",
            en=f"the file is too large; at most {_MAX_INPUT_BYTES >> 20} MiB",
            field="file",
        )
    return data
