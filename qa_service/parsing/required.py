"""Substrings that a regular expression requires: of many patterns, a text is searched for the few that may match it.

Each match of `loss(?:es)?|损失` contains "loss" or "损失", so a text without "los" and "损失" need not be searched. To
look up short substrings in a set takes a fraction of the time of a search.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from operator import add
from pathlib import Path
from typing import Any

from qa_service.parse_cache import ParseCache

_parser: Any = import_module("re._parser")  # the standard library's own reader of patterns, which has no public name
_GRAM = 3  # characters
_MAX_STRINGS = 64  # that are told apart in one piece of a pattern
_Strings = frozenset[str]
_EMPTY: _Strings = frozenset({""})
_found: dict[tuple[str, int], frozenset[str] | None] = {}


def grams(text: str) -> frozenset[str]:
    """The substrings of a text of one to three characters."""
    pairs = [*map(add, text, text[1:])]
    return frozenset((*text, *pairs, *map(add, pairs, text[2:])))


def required_grams(pattern: str, flags: int = 0) -> frozenset[str] | None:
    """Some of the `grams` of a text, one of which each match has; None where no such set is found."""
    if (pattern, flags) not in _found:
        _found[pattern, flags] = _frozen(_sorted_grams(pattern, flags))
    return _found[pattern, flags]


def recall_required_grams(patterns: Iterable[str], parsed: ParseCache) -> None:
    """Take over what `parsed` holds of these patterns: to find it takes as long as a question."""
    kind = f"grams {_version()}"
    for each in patterns:
        _found[each, 0] = _frozen(parsed.get(kind, each, _sorted_grams))


@cache
def _version() -> str:
    """That of this module and of the reader of patterns: another one may find other strings."""
    return f"{sys.version_info[:2]} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"


def _frozen(strings: list[str] | None) -> frozenset[str] | None:
    return None if strings is None else frozenset(strings)


def _sorted_grams(pattern: str, flags: int = 0) -> list[str] | None:
    tree = _parser.parse(pattern, flags)
    if tree.state.flags != re.UNICODE:
        return None  # without regard to case, other letters match too
    strings = _required(tree)
    return None if strings is None else sorted({each[:_GRAM] for each in strings})


def _required(pieces: Iterable[tuple[Any, Any]]) -> _Strings | None:
    """Strings one of which each match of a sequence contains; None if any may be empty or too many would be needed."""
    found: list[_Strings] = []
    run = _EMPTY
    for operator, argument in pieces:
        exact = _exact(operator, argument)
        longer = None if exact is None else _joined(run, exact)
        if longer is None:
            inner = _inside(operator, argument)
            found += [run] if inner is None else [run, inner]
            run = _EMPTY if exact is None else exact
        else:
            run = longer
    return max((each for each in (*found, run) if "" not in each), key=_selectivity, default=None)


def _selectivity(strings: _Strings) -> tuple[int, int]:
    """The length of the shortest string and, negated, their number: long strings rule out most texts, few are cheap."""
    return min(_GRAM, *map(len, strings)), -len(strings)


def _exact(operator: Any, argument: Any) -> _Strings | None:
    """All strings that a piece may match, if they are few; else None."""
    match str(operator):
        case "LITERAL":
            return frozenset({chr(argument)})
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return _EMPTY  # no character is consumed
        case "IN" if all(str(kind) == "LITERAL" for kind, _ in argument):
            return frozenset(chr(character) for _, character in argument)
        case "SUBPATTERN" if not argument[1] and not argument[2]:  # no flags of its own
            return _exact_sequence(argument[3])
        case "BRANCH":
            return _union([_exact_sequence(branch) for branch in argument[1]])
        case "MAX_REPEAT" | "MIN_REPEAT" if argument[:2] == (0, 1):
            return _union([_EMPTY, _exact_sequence(argument[2])])
    return None


def _exact_sequence(pieces: Iterable[tuple[Any, Any]]) -> _Strings | None:
    strings: _Strings | None = _EMPTY
    for operator, argument in pieces:
        exact = _exact(operator, argument)
        strings = None if strings is None or exact is None else _joined(strings, exact)
    return strings


def _inside(operator: Any, argument: Any) -> _Strings | None:
    """As `_required`, of a piece that consists of others."""
    match str(operator):
        case "SUBPATTERN" if not argument[1] and not argument[2]:
            return _required(argument[3])
        case "BRANCH":
            return _union([_required(branch) for branch in argument[1]])
        case "MAX_REPEAT" | "MIN_REPEAT" if argument[0] > 0:
            return _required(argument[2])
    return None


def _joined(first: _Strings, second: _Strings) -> _Strings | None:
    if len(first) * len(second) > _MAX_STRINGS:
        return None
    return frozenset(one + other for one in first for other in second)


def _union(sets: Sequence[_Strings | None]) -> _Strings | None:
    known = [each for each in sets if each is not None]
    return frozenset[str]().union(*known) if len(known) == len(sets) else None
