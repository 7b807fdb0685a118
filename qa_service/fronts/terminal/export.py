"""numstab export: an entry as a notebook or a script that needs nothing but torch."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model import Lang, Request
from qa_service.tools import notebook as export


def add_commands(parsers: Any) -> None:
    """Adds `export`."""
    parser: ArgumentParser = parsers.add_parser("export", help="write an entry as a notebook or a script")
    parser.add_argument("entry", metavar="ENTRY", help="its id; `numstab entries` lists them")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="FILE.ipynb or FILE.py")
    options.add_lang(parser)
    options.add_params(parser)
    parser.set_defaults(carry_out=carry_out, no_run=True)


def carry_out(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Writes the file; a file that is there is replaced."""
    target = Path(arguments.output)
    form = export.read_form(target.suffix.removeprefix("."), "--output")
    params, seed = options.params(arguments.param), options.seed(arguments.seed)
    request = Request(question="", entry=options.entry(arguments.entry), params=params, seed=seed)
    entry, plans = service.planned(request)
    try:
        target.write_text(export.export(entry, plans, seed, lang, form), encoding="utf-8")
    except OSError as error:
        raise BadField(
            zh=f"写不了文件 {arguments.output!r}：{error.strerror}",
            en=f"cannot write the file {arguments.output!r}: {error.strerror}",
            field="--output",
        ) from error
    sys.stdout.write(f"{target}\n")
    return options.DONE
