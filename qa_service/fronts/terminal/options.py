"""Options that several commands share, the parsers of their values, exit statuses, and printing."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from qa_service.errors import BadField
from qa_service.model import Value
from qa_service.schemas.allowed import ENTRY, bad_field, check_seed, check_seeds

EXIT_USAGE, EXIT_EXPERIMENT_FAILED, EXIT_NOT_ANSWERED, EXIT_OK = 2, 3, 1, 0
"""Exit statuses: wrong usage or unreadable input; an experiment failed; no clear answer or a failed check; success."""


def add_lang(parser: ArgumentParser) -> None:
    """Adds --lang, the language of the answer and of errors."""
    parser.add_argument("--lang", choices=("zh", "en"), help="language (default: the question's, or the system's)")


def add_json(parser: ArgumentParser) -> None:
    """Adds --json: only JSON on standard output."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")


def add_params(parser: ArgumentParser) -> None:
    """Adds --param and --seed."""
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="set a parameter; repeatable"
    )
    parser.add_argument("--seed", default="0", help="seed of the random numbers (default 0)")


def parse_params(pairs: Iterable[str]) -> dict[str, Value]:
    """NAME=VALUE pairs as a mapping of texts, which the experiment converts; raises `BadField` for any other form."""
    values_by_name: dict[str, Value] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise BadField(
                zh=f"--param {pair!r} 的写法应当是 NAME=VALUE，例如 n=200",
                en=f"--param {pair!r} should read NAME=VALUE, such as n=200",
                field="--param",
            )
        values_by_name[name.strip()] = value.strip()
    return values_by_name


def parse_compare(pairs: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """NAME=A,B pairs as a mapping; a name without values gets an empty tuple, which means all its choices."""
    values_by_name: dict[str, tuple[Value, ...]] = {}
    for pair in pairs:
        name, _, values = pair.partition("=")
        values_by_name[name.strip()] = tuple(value.strip() for value in values.split(",") if value.strip())
    return values_by_name


def parse_seed(text: str) -> int:
    """The value of --seed; raises `BadField` if it is not a valid seed."""
    return check_seed(int_or_text(text))


def parse_seeds(text: str) -> int:
    """The value of --seeds; raises `BadField` if it is not a valid number of seeds."""
    return check_seeds(int_or_text(text))


def parse_entry(text: str | None) -> str | None:
    """The value of --entry; raises `BadField` for an empty one, which names no entry."""
    if text == "":
        raise bad_field("entry", ENTRY)
    return text


def int_or_text(text: str) -> int | str:
    """The text as an integer, or unchanged if it is not one; the caller checks which values are allowed."""
    try:
        return int(text)
    except ValueError:
        return text


def unreadable_file(path: str, error: OSError, field: str = "file") -> BadField:
    """The error for a file that cannot be read."""
    return BadField(
        zh=f"读不了文件 {path!r}：{error.strerror}",
        en=f"cannot read the file {path!r}: {error.strerror}",
        field=field,
    )


def print_line(line: object) -> None:
    """Prints one line to standard output."""
    sys.stdout.write(f"{line}\n")


def print_json(value: Any) -> None:
    """Prints one line of strict JSON, without inf and nan, and flushes it; raises ValueError for these."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()
