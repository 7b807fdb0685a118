"""A disk cache of runs, shared by all workers and kept across restarts.

One SQLite file with least-recently-used eviction, of runs as JSON. A corrupt file is deleted and created anew; when the
disk is full, runs are not cached.
"""

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from qa_service.lab.run_json import run_from_json, run_to_json
from qa_service.machine import Environment, environment, environments_here
from qa_service.model import Experiment, Params, Run, RunStatus
from qa_service.model.json_numbers import json_safe

LOCK_TIMEOUT_SECONDS = 2.0  # to wait for another worker's transaction
_CREATE_TABLE = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, run TEXT NOT NULL, size INTEGER, used REAL)"


class RunDiskCache:
    """At most `max_bytes` of runs, as JSON, in `folder`. Thread-safe.

    Never raises: where the file cannot be used, `get` finds nothing and `put` stores nothing.
    """

    def __init__(
        self, folder: Path, max_bytes: int, environments: Callable[[], Sequence[Environment]] = environments_here
    ) -> None:
        """`environments` gives those in which runs are executed now: by default only this machine's."""
        self._environments = environments
        self._path = folder / "runs.sqlite"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls, folder: Path, mebibytes: int, environments: Callable[[], Sequence[Environment]]
    ) -> "RunDiskCache | None":
        """A cache of at most `mebibytes` MiB; None for 0, which turns caching off."""
        return cls(folder, mebibytes << 20, environments) if mebibytes else None

    def get(self, experiment: Experiment, params: Params, seed: int) -> Run | None:
        """The cached run of this source, parameters and seed by the versions and kinds of machine that run it now."""
        keys = [self._key(experiment, params, seed, each) for each in self._environments()]
        found: list[tuple[str, str]] = []

        def select(connection: sqlite3.Connection) -> None:
            for key in keys:
                found.extend(connection.execute("SELECT key, run FROM runs WHERE key = ?", (key,)).fetchall())
                connection.execute("UPDATE runs SET used = ? WHERE key = ?", (time.time(), key))

        self._transaction(select)
        for key, text in found:
            try:
                return replace(run_from_json(experiment, text), cached=True)
            except ValueError:
                self._transaction(partial(_delete, key))
        return None

    def put(self, experiment: Experiment, params: Params, seed: int, run: Run) -> None:
        """Store a run whose status is RAN, by the environment that measured it; evicts the least recently used."""
        if run.status is not RunStatus.RAN:
            return
        measured_in = run.environment or environment()
        row = (
            self._key(experiment, params, seed, measured_in),
            text := run_to_json(run),
            size := len(text.encode()),
            time.time(),
        )
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

    def _key(self, experiment: Experiment, params: Params, seed: int, measured_in: Environment) -> str:
        parts = [experiment.slug, experiment.hash, sorted(json_safe(dict(params)).items()), seed, *measured_in]
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


def _delete(key: str, connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM runs WHERE key = ?", (key,))
