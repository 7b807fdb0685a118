"""A disk cache of runs, shared by all workers and kept across restarts.

One SQLite file with least-recently-used eviction. Values are JSON, never pickles: whoever can write the file can at
worst have wrong numbers shown, not run code. A corrupt file is deleted and created anew; when the disk is full, runs
are not cached.
"""

import hashlib
import json
import platform
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qa_service import __version__
from qa_service.model import Experiment, Params, Run, RunStatus
from qa_service.model.json_numbers import json_safe

_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
LOCK_TIMEOUT_SECONDS = 2.0  # to wait for another worker's transaction
_CREATE_TABLE = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, run TEXT NOT NULL, size INTEGER, used REAL)"


class RunDiskCache:
    """At most `max_bytes` of runs, as JSON, in `folder`. Thread-safe.

    Never raises: where the file cannot be used, `get` finds nothing and `put` stores nothing.
    """

    def __init__(self, folder: Path, max_bytes: int, environment: tuple[str, ...] | None = None) -> None:
        """`environment` is what results depend on besides the source: by default the versions and this machine."""
        self._environment = _environment_key() if environment is None else environment
        self._path = folder / "runs.sqlite"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    @classmethod
    def of(cls, folder: Path, mebibytes: int) -> "RunDiskCache | None":
        """A cache of at most `mebibytes` MiB; None for 0, which turns caching off."""
        return cls(folder, mebibytes << 20) if mebibytes else None

    def get(self, experiment: Experiment, params: Params, seed: int) -> Run | None:
        """The cached run of this source, parameters and seed by the same versions on the same kind of machine."""
        key = self._key(experiment, params, seed)
        found: list[tuple[str]] = []

        def select(connection: sqlite3.Connection) -> None:
            found.extend(connection.execute("SELECT run FROM runs WHERE key = ?", (key,)).fetchall())
            connection.execute("UPDATE runs SET used = ? WHERE key = ?", (time.time(), key))

        self._transaction(select)
        for (text,) in found:
            try:
                return _deserialise(experiment, text)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self._transaction(lambda connection: connection.execute("DELETE FROM runs WHERE key = ?", (key,)))
        return None

    def put(self, experiment: Experiment, params: Params, seed: int, run: Run) -> None:
        """Store a run that finished, evicting the least recently used; other runs are not stored."""
        if run.status is not RunStatus.RAN:
            return
        row = (self._key(experiment, params, seed), text := _serialise(run), size := len(text.encode()), time.time())
        if size > self._max_bytes:
            return

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", row)
            excess = connection.execute("SELECT sum(size) FROM runs").fetchone()[0] - self._max_bytes
            oldest = connection.execute("SELECT key, size FROM runs ORDER BY used") if excess > 0 else ()
            evicted = []
            for key, freed in oldest:
                if excess <= 0:
                    break
                evicted.append((key,))
                excess -= freed
            connection.executemany("DELETE FROM runs WHERE key = ?", evicted)

        self._transaction(insert)

    def _key(self, experiment: Experiment, params: Params, seed: int) -> str:
        parts = [experiment.slug, experiment.hash, sorted(json_safe(dict(params)).items()), seed, *self._environment]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _transaction(self, statements: Callable[[sqlite3.Connection], object]) -> None:
        """Call `statements` in a transaction on a new connection. A file that is not a database is deleted."""
        with self._lock, suppress(OSError, sqlite3.Error):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None)
                try:
                    connection.execute("PRAGMA auto_vacuum = FULL")  # deleted rows shrink the file
                    connection.execute("PRAGMA synchronous = OFF")  # a lost run can be measured again
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute(_CREATE_TABLE)
                    statements(connection)
                    connection.execute("COMMIT")
                finally:
                    connection.close()
            except sqlite3.OperationalError:  # locked, full or read-only: do without it this time
                pass
            except sqlite3.DatabaseError:
                self._path.unlink(missing_ok=True)


@cache
def _environment_key() -> tuple[str, ...]:
    """What the last bits of a result depend on besides the source: versions, and the kind of machine."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    processor = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        processor = next((line for line in lines if line.startswith("model name")), processor)
    return torch, platform.python_version(), __version__, platform.system(), platform.machine(), processor


def _serialise(run: Run) -> str:
    fields = {"measured": dict(run.measured), "rows": [dict(row) for row in run.rows], "seconds": run.seconds,
             "versions": dict(run.versions), "random": run.used_rng, "at": run.measured_at}  # fmt: skip
    return json.dumps(json_safe(fields), allow_nan=False, separators=(",", ":"))


def _deserialise(experiment: Experiment, text: str) -> Run:
    """Raises ValueError, TypeError, KeyError, AttributeError or RecursionError if `_serialise` did not write `text`."""
    fields = json.loads(text)
    measured, rows = _parse_floats(fields["measured"]), tuple(_parse_floats(row) for row in fields["rows"])
    if measured.keys() != experiment.metrics.keys():
        raise ValueError(measured)
    return Run(
        status=RunStatus.RAN, measured=measured, rows=rows, seconds=float(fields["seconds"]),
        versions={str(name): str(release) for name, release in fields["versions"].items()},
        used_rng=bool(fields["random"]), cached=True, measured_at=_seconds_or_none(fields.get("at")),
    )  # fmt: skip


def _seconds_or_none(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _parse_floats(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the words "NaN", "Infinity" and "-Infinity" as floats."""
    return {name: _FLOATS.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
