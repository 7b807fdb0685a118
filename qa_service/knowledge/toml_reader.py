"""Reads a TOML file of kb/ and collects all its problems, each with path and line, instead of stopping at the first."""

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from qa_service.model import LANGS, Lang, Sign, Text
from qa_service.parse_cache import ParseCache

LineFinder = Callable[[], int]
"""Finds the line of something in the file, for the message of a problem."""
_MIN_PHRASINGS = 10


@lru_cache(maxsize=1024)
def parse_toml(source: str) -> Mapping[str, Any]:
    """The table of a TOML text, cached so that a reload parses only changed files; callers must not change it."""
    return tomllib.loads(source)


class TomlReader:
    """Reads one file. A wrong value is noted in `problems`, and an empty one of its type takes its place."""

    def __init__(self, path: Path, parsed: ParseCache) -> None:
        self.path = path
        self.parsed = parsed
        self.problems: list[str] = []
        self.raw = b""
        self.source = ""

    def read_table(self, allowed: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The file as a table, or None if it is not UTF-8 or not TOML; a key that is not `allowed` is a problem."""
        try:
            self.raw = self.path.read_bytes()
            self.source = self.raw.decode("utf-8")
            table: Mapping[str, Any] = self.parsed.get("toml", self.source, parse_toml)
        except UnicodeDecodeError as error:
            self.add_problem(self.raw[: error.start].count(b"\n") + 1, "text in UTF-8")
            return None
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            self.add_problem(int(found.group(1)) if found else self.source.count("\n") + 1, f"TOML: {error}")
            return None
        for key in table.keys() - set(allowed):
            self.add_problem(self.line(key), f"no key {key!r}; allowed are {', '.join(allowed)}")
        return table

    def add_problem(self, line: int | LineFinder, expected: str) -> None:
        """Adds the problem "PATH:LINE: expected EXPECTED". A line that takes time to find is given as a function."""
        self.problems.append(f"{self.path}:{line() if callable(line) else line}: expected {expected}")

    def line(self, key: str, table: str | None = None, nth: int = 0) -> int:
        """The line number of `key`, searched from the nth (from 0) header [table] or [[table]] on.

        If the key is not found, the line of the header; 1 if there is no header either.
        """
        start = 0
        if table:
            headers = list(re.finditer(rf"^\[\[?{re.escape(table)}\]\]?", self.source, re.MULTILINE))
            if nth < len(headers):
                start = headers[nth].start()
        found = re.compile(rf"^\s*\[*(?:[\w.]+\.)?{re.escape(key)}\b", re.MULTILINE).search(self.source, start)
        return self.source.count("\n", 0, found.start() if found else start) + 1

    def bilingual_text(self, table: Mapping[str, Any], key: str, header: str | None = None, nth: int = 0) -> Text:
        """The value of `key`, which must be a table with text in zh and en."""
        value = table.get(key)
        if isinstance(value, dict) and all(isinstance(value.get(lang), str) and value[lang].strip() for lang in LANGS):
            return Text(value["zh"].strip(), value["en"].strip())
        self.add_problem(self.line(key, header, nth), f"{key} with text in zh and en")
        return Text("", "")

    def list_of(self, table: Mapping[str, Any], key: str, kind: type) -> list[Any]:
        """The value of `key`, which must be a list of tables (`dict`) or of strings; empty if the key is missing."""
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(element, kind) for element in value):
            return value
        self.add_problem(self.line(key), f"{key}: a list of {'tables' if kind is dict else 'strings'}")
        return []

    def signs(self, table: Mapping[str, Any], key: str, line: LineFinder | None = None) -> tuple[Sign, ...]:
        """The signs listed under `key`, each once; none if it is missing. `line` finds the line of problems."""
        signs: list[Sign] = []
        for text in self.list_of(table, key, str):
            try:
                signs.append(Sign.parse(text))
            except ValueError:
                self.add_problem(
                    line or partial(self.line, key),
                    f'{key}: signs of the vocabulary, such as "what:nan", not {text!r}',
                )
        return tuple(dict.fromkeys(signs))

    def phrasings(
        self, table: Mapping[str, Any], *, at_least: int = _MIN_PHRASINGS, header: str | None = None, nth: int = 0
    ) -> Mapping[Lang, tuple[str, ...]]:
        """The phrasings in each language, `at_least` so many different; of the nth table [[header]] or of the file."""
        found: dict[Lang, tuple[str, ...]] = {}
        for lang in LANGS:
            phrasings = table.get("phrasings")
            wordings = phrasings.get(lang) if isinstance(phrasings, dict) else None
            all_text = isinstance(wordings, list) and all(isinstance(each, str) and each.strip() for each in wordings)
            if wordings and all_text and len(set(wordings)) >= at_least:
                found[lang] = tuple(dict.fromkeys(wordings))
                continue
            place = f"{header}.phrasings" if header else "phrasings"
            self.add_problem(self.line(lang, place, nth), f"at least {at_least} different phrasings in {lang}")
            found[lang] = ()
        return found
