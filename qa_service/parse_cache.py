"""A cache, in one JSON file, of what the files of the library parse to.

Without it, a command that answers one question would spend most of its time on parsing some five hundred files.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from qa_service.files import delete_unused, mark_used, write_atomically

_KEPT_FILES, _KEPT_DAYS = 4, 30


class ParseCache:
    """Parsed values, by the SHA-256 of the text that they were parsed from.

    Only values that are equal after a round trip through JSON are cached, so a cached value equals a parsed one.
    """

    def __init__(self, folder: Path | None = None, name: str = "") -> None:
        """Reads the cache file of this `name` in `folder`, if there is one; without a folder nothing is cached."""
        self._path = folder / f"parsed-{hashlib.sha256(name.encode()).hexdigest()[:32]}.json" if folder else None
        self._found: dict[str, Any] = {}
        self._used: dict[str, Any] = {}
        with suppress(OSError, ValueError, RecursionError):  # the file is missing or not ours
            found = json.loads(self._path.read_bytes()) if self._path else {}
            self._found = found if isinstance(found, dict) else {}

    def get(self, kind: str, source: str, parse: Callable[[str], Any]) -> Any:
        """`parse(source)`, from the cache if possible; raises what `parse` raises. `kind` names the parser."""
        if self._path is None:
            return parse(source)
        key = hashlib.sha256(f"{kind}\0{source}".encode(errors="surrogatepass")).hexdigest()
        if key in self._found:
            value = self._used[key] = self._found[key]
            return value
        value = parse(source)
        with suppress(TypeError, ValueError, RecursionError):
            if repr(json.loads(json.dumps(value))) == repr(value):  # nan is like nan, a tuple is not like a list
                self._used[key] = value
        return value

    def save(self) -> None:
        """Writes the values that were requested since this object was made, and no others.

        Does nothing without a folder, or if the file cannot be written.
        """
        if self._path is None:
            return
        if self._used.keys() == self._found.keys():
            mark_used(self._path)
            return
        with suppress(OSError):
            text = json.dumps(self._used, ensure_ascii=False, separators=(",", ":"))
            write_atomically(self._path, lambda path: path.write_text(text, encoding="utf-8", errors="surrogatepass"))
            delete_unused(self._path.parent, "parsed-*.json", keep=_KEPT_FILES, days=_KEPT_DAYS)
        self._found = dict(self._used)
