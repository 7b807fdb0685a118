"""Options that several commands share, and words on the command line read as values."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from qa_service.errors import BadField
from qa_service.model import Value
from qa_service.schemas.allowed import ENTRY, bad_field, check_seed, check_seeds

USAGE, FAILED, EXIT_NOT_ANSWERED, DONE = 2, 3, 1, 0
"""Exit status: usage; an experiment failed; not covered, unclear, or a check failed; done."""


def add_lang(parser: ArgumentParser) -> None:
    """--lang: the language of the answer and of errors."""
    parser.add_argument("--lang", choices=("zh", "en"), help="language (default: the question's, or the system's)")


def add_json(parser: ArgumentParser) -> None:
    """--json: nothing but JSON on standard output."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")


def add_params(parser: ArgumentParser) -> None:
    """--param and --seed."""
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="set a parameter; repeatable"
    )
    parser.add_argument("--seed", default="0", help="seed of the random numbers (default 0)")


def params(pairs: Iterable[str]) -> dict[str, Value]:
    """NAME=VALUE pairs; the experiment decides what the words mean."""
    found: dict[str, Value] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise BadField(
                zh=f"--param {pair!r} 的写法应当是 NAME=VALUE，例如 n=200",
                en=f"--param {pair!r} should read NAME=VALUE, such as n=200",
                field="--param",
            )
        found[name.strip()] = value.strip()
    return found


def compared(pairs: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """NAME=A,B pairs; a name alone stands for all its choices."""
    found: dict[str, tuple[Value, ...]] = {}
    for pair in pairs:
        name, _, values = pair.partition("=")
        found[name.strip()] = tuple(value.strip() for value in values.split(",") if value.strip())
    return found


def seed(word: str) -> int:
    """--seed as a number; raises `BadField`."""
    return check_seed(number(word))


def seeds(word: str) -> int:
    """--seeds as a number; raises `BadField`."""
    return check_seeds(number(word))


def entry(word: str | None) -> str | None:
    """--entry; raises `BadField` for an empty one, which names none."""
    if word == "":
        raise bad_field("entry", ENTRY)
    return word


def number(word: str) -> int | str:
    """A word as the whole number it is, if it is one; whoever reads the option says what is allowed."""
    try:
        return int(word)
    except ValueError:
        return word


def unreadable(path: str, error: OSError, field: str = "file") -> BadField:
    """The error for a file that cannot be read."""
    return BadField(
        zh=f"读不了文件 {path!r}：{error.strerror}",
        en=f"cannot read the file {path!r}: {error.strerror}",
        field=field,
    )


def say(line: object) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{line}\n")


def print_json(value: Any) -> None:
    """One line of strict JSON; a reader who has gone (a closed pipe) is no error."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()
