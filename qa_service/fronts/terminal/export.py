"""`numstab export`: writes an entry as a notebook or a script that needs only torch."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model import Lang, Request
from qa_service.tools import notebook


def add_commands(parsers: Any) -> None:
    """Adds the command `export`."""
    parser: ArgumentParser = parsers.add_parser("export", help="write an entry as a notebook or a script")
    parser.add_argument("entry", metavar="ENTRY", help="its id; `numstab entries` lists them")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="FILE.ipynb or FILE.py")
    options.add_lang(parser)
    options.add_params(parser)
    parser.set_defaults(run_with_service=run_with_service, no_run=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Writes the file, replacing an existing one; raises `BadField` if it cannot be written."""
    path = Path(arguments.output)
    export_format = notebook.parse_export_format(path.suffix.removeprefix("."), "--output")
    params, seed = options.parse_params(arguments.param), options.parse_seed(arguments.seed)
    request = Request(question="", entry=options.parse_entry(arguments.entry), params=params, seed=seed)
    entry, plans = service.plan(request)
    try:
        path.write_text(notebook.export_entry(entry, plans, seed, lang, export_format), encoding="utf-8")
    except OSError as error:
        raise BadField(
            zh=f"写不了文件 {arguments.output!r}：{error.strerror}",
            en=f"cannot write the file {arguments.output!r}: {error.strerror}",
            field="--output",
        ) from error
    sys.stdout.write(f"{path}\n")
    return options.EXIT_OK
