"""A TOML file of kb/ being read: collects problems, each with path and line, instead of stopping at the first."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa_service.model import LANGS, Lang, Text

_MIN_PHRASINGS = 10


class TomlReader:
    """One file. What is wrong is noted in `problems`, and an empty value of the right type goes on in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.raw = b""
        self.source = ""

    def read_table(self, known: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The whole file, or None when it is no TOML; keys that are not `known` are noted."""
        try:
            self.raw = self.path.read_bytes()
            self.source = self.raw.decode("utf-8")
            table = tomllib.loads(self.source)
        except UnicodeDecodeError as error:
            self.add_problem(self.raw[: error.start].count(b"\n") + 1, "text in UTF-8")
            return None
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            self.add_problem(int(found.group(1)) if found else self.source.count("\n") + 1, f"TOML: {error}")
            return None
        for key in table.keys() - set(known):
            self.add_problem(self.line(key), f"no key {key!r}; allowed are {', '.join(known)}")
        return table

    def add_problem(self, line: int, expected: str) -> None:
        """Notes a problem."""
        self.problems.append(f"{self.path}:{line}: expected {expected}")

    def line(self, key: str, table: str | None = None, nth: int = 0) -> int:
        """The line of `key`, looked for from the nth header [table] or [[table]] on; 1 if it is not there."""
        start = 0
        if table:
            headers = list(re.finditer(rf"^\[\[?{re.escape(table)}\]\]?", self.source, re.MULTILINE))
            if nth < len(headers):
                start = headers[nth].start()
        found = re.compile(rf"^\s*\[*(?:[\w.]+\.)?{re.escape(key)}\b", re.MULTILINE).search(self.source, start)
        return self.source.count("\n", 0, found.start() if found else start) + 1

    def bilingual_text(self, table: Mapping[str, Any], key: str, header: str | None = None, nth: int = 0) -> Text:
        """`key` in both languages."""
        value = table.get(key)
        if isinstance(value, dict) and all(isinstance(value.get(lang), str) and value[lang].strip() for lang in LANGS):
            return Text(value["zh"].strip(), value["en"].strip())
        self.add_problem(self.line(key, header, nth), f"{key} with text in zh and en")
        return Text("", "")

    def list_of(self, table: Mapping[str, Any], key: str, kind: type) -> list[Any]:
        """A list of tables (`dict`) or strings; empty if it is not there."""
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(element, kind) for element in value):
            return value
        self.add_problem(self.line(key), f"{key}: a list of {'tables' if kind is dict else 'strings'}")
        return []

    def phrasings(self, table: Mapping[str, Any]) -> Mapping[Lang, tuple[str, ...]]:
        """Different wordings in each language, ten at least."""
        return {lang: self._phrasings(table.get("phrasings"), lang) for lang in LANGS}

    def _phrasings(self, phrasings: Any, lang: Lang) -> tuple[str, ...]:
        wordings = phrasings.get(lang) if isinstance(phrasings, dict) else None
        words = isinstance(wordings, list) and all(isinstance(each, str) and each.strip() for each in wordings)
        if wordings and words and len(set(wordings)) >= _MIN_PHRASINGS:
            return tuple(dict.fromkeys(wordings))
        self.add_problem(self.line(lang, "phrasings"), f"at least {_MIN_PHRASINGS} different phrasings in {lang}")
        return ()
