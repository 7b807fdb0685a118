"""Runs kept on disk: what was measured before a restart, or by another worker, need not be measured again.

One SQLite file that all workers share, least recently used out first. What it holds is JSON, never pickles: whoever
can write the file can at worst have wrong numbers shown, not run code. A file that is broken is begun anew, a disk that
is full costs the memory of runs only.
"""

import hashlib
import json
import platform
import sqlite3
import threading
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qa_service import __version__
from qa_service.model import Experiment, Params, Run, RunStatus
from qa_service.model.json_numbers import json_safe

_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
TIMEOUT_SECONDS = 2.0  # seconds that one worker waits for another's writing
_TABLE = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, run TEXT NOT NULL, size INTEGER, used REAL)"


class RunDiskCache:
    """At most `most_bytes` of runs in `folder`. Never raises: a cache that cannot be used is none."""

    def __init__(self, folder: Path, most_bytes: int, environment: tuple[str, ...] | None = None) -> None:
        """`environment`: what the numbers depend on besides the code, by default this machine and its versions."""
        self._environment = _environment_key() if environment is None else environment
        self._path = folder / "runs.sqlite"
        self._most_bytes = most_bytes
        self._lock = threading.Lock()

    @classmethod
    def of(cls, folder: Path, mebibytes: int) -> "RunDiskCache | None":
        """None where there is to be none."""
        return cls(folder, mebibytes << 20) if mebibytes else None

    def get(self, experiment: Experiment, params: Params, seed: int) -> Run | None:
        """The run of this code, these parameters and this seed, by these versions on such a machine."""
        called = self._key(experiment, params, seed)
        found: list[tuple[str]] = []

        def look(store: sqlite3.Connection) -> None:
            found.extend(store.execute("SELECT run FROM runs WHERE key = ?", (called,)).fetchall())
            store.execute("UPDATE runs SET used = ? WHERE key = ?", (time.time(), called))

        self._transaction(look)
        for (text,) in found:
            try:
                return _read(experiment, text)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self._transaction(lambda store: store.execute("DELETE FROM runs WHERE key = ?", (called,)))
        return None

    def put(self, experiment: Experiment, params: Params, seed: int, run: Run) -> None:
        """Keeps a run that finished; the least recently used go where there is no room."""
        if run.status is not RunStatus.RAN:
            return
        row = (self._key(experiment, params, seed), text := _written(run), size := len(text.encode()), time.time())
        if size > self._most_bytes:
            return

        def add(store: sqlite3.Connection) -> None:
            store.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", row)
            over = store.execute("SELECT sum(size) FROM runs").fetchone()[0] - self._most_bytes
            oldest = store.execute("SELECT key, size FROM runs ORDER BY used") if over > 0 else ()
            gone = []
            for called, its in oldest:
                if over <= 0:
                    break
                gone.append((called,))
                over -= its
            store.executemany("DELETE FROM runs WHERE key = ?", gone)

        self._transaction(add)

    def _key(self, experiment: Experiment, params: Params, seed: int) -> str:
        made_of = [experiment.slug, experiment.hash, sorted(json_safe(dict(params)).items()), seed, *self._environment]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    def _transaction(self, work: Any) -> None:
        """One transaction on a connection of its own. A file that is no database goes."""
        with self._lock, suppress(OSError, sqlite3.Error):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                store = sqlite3.connect(self._path, timeout=TIMEOUT_SECONDS, isolation_level=None)
                try:
                    store.execute("PRAGMA auto_vacuum = FULL")  # what is deleted is given back to the disk
                    store.execute("PRAGMA synchronous = OFF")  # it can be measured again
                    store.execute("BEGIN IMMEDIATE")
                    store.execute(_TABLE)
                    work(store)
                    store.execute("COMMIT")
                finally:
                    store.close()
            except sqlite3.OperationalError:  # locked, full or not to be written: without it this time
                pass
            except sqlite3.DatabaseError:
                self._path.unlink(missing_ok=True)


@cache
def _environment_key() -> tuple[str, ...]:
    """What the last bits of a number depend on besides the code: versions, and the kind of machine."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    model = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        model = next((line for line in lines if line.startswith("model name")), model)
    return torch, platform.python_version(), __version__, platform.system(), platform.machine(), model


def _written(run: Run) -> str:
    whole = {"measured": dict(run.measured), "rows": [dict(row) for row in run.rows], "seconds": run.seconds,
             "versions": dict(run.versions), "random": run.used_rng}  # fmt: skip
    return json.dumps(json_safe(whole), allow_nan=False, separators=(",", ":"))


def _read(experiment: Experiment, text: str) -> Run:
    """The run; raises what JSON, types and missing names raise where `_written` did not write it."""
    whole = json.loads(text)
    measured, rows = _numbers(whole["measured"]), tuple(_numbers(row) for row in whole["rows"])
    if measured.keys() != experiment.metrics.keys():
        raise ValueError(measured)
    return Run(
        status=RunStatus.RAN, measured=measured, rows=rows, seconds=float(whole["seconds"]),
        versions={str(name): str(each) for name, each in whole["versions"].items()}, used_rng=bool(whole["random"]),
        cached=True,
    )  # fmt: skip


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _FLOATS.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
