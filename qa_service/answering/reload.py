"""kb and demos read again while the service runs: all of them or, where anything is broken, none."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from qa_service.answering.service import Service, matcher
from qa_service.errors import BadContent
from qa_service.experiments.spec import load_specs
from qa_service.knowledge.library import Library
from qa_service.retrieval.embedder import load_embedder
from qa_service.settings import Settings
from qa_service.telemetry.logging import log_event

_LONGEST = 600.0  # seconds that building may take
_EVERY = 1.0  # seconds between looks at the folders
_CLOSE_TIMEOUT = 5.0  # seconds
_Seen = dict[Path, tuple[int, int]]


class KnowledgeReloader:
    """Renews a service. What was wrong at the last attempt is `problem`: for the operator, not for readers."""

    def __init__(self, service: Service, settings: Settings, heard: Callable[[bool], None]) -> None:
        """`heard` is told of each attempt whether it went well."""
        self._service = service
        self._settings = settings
        self._heard = heard
        self._one = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self.problem: str | None = None

    def reload_in_background(self) -> None:
        """One reload, in a thread of its own."""
        self._start(threading.Thread(target=self.reload, daemon=True, name="reload"))

    def reload(self) -> bool:
        """One reload; whether it went well. Where it did not, everything stays as it was, and the log says why."""
        with self._one:
            began = time.monotonic()
            try:
                experiments = load_specs(self._settings.demos)
                library = Library.read(self._settings.kb, experiments)
                found = matcher(self._settings, library, self._service.matcher.embedder)
                if not found.is_cached:
                    _build(self._settings)
                found.match("nan")  # loaded now, not by the first reader; built as well where the other could not
            except Exception as error:  # whatever is wrong with the new, the old goes on
                problems = error.problems if isinstance(error, BadContent) else (f"{type(error).__name__}: {error}",)
                self.problem = "\n".join(problems)
                for line in problems:
                    log_event("reload refused, the older reading stays", 40, problem=line)
            else:
                self._service.replace_knowledge(library, found, experiments)
                self.problem = None
                seconds = round(time.monotonic() - began, 1)
                log_event("reloaded", entries=len(library), experiments=len(experiments), seconds=seconds)
            self._heard(self.problem is None)
            return self.problem is None

    def watch(self) -> None:
        """Reloads whenever a file has changed and then stayed the same for a second; in a thread, until `close`."""
        before = self._fingerprint()
        self._closed.clear()
        self._start(threading.Thread(target=self._keep_watching, args=(before,), daemon=True, name="watch"))

    def close(self) -> None:
        """Ends the watching; waits for a reload that has begun, for five seconds at most."""
        self._closed.set()
        for thread in self._threads:
            thread.join(_CLOSE_TIMEOUT)

    def _start(self, thread: threading.Thread) -> None:
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def _keep_watching(self, read: _Seen) -> None:
        last = read
        while not self._closed.wait(_EVERY):
            now = self._fingerprint()
            if now != read and now == last:
                read = now
                self.reload()
            last = now

    def _fingerprint(self) -> _Seen:
        seen: _Seen = {}
        for path in (*self._settings.kb.rglob("*.toml"), *self._settings.demos.rglob("*.py")):
            try:
                about = path.stat()
            except OSError:  # gone since it was listed
                continue
            seen[path] = (about.st_mtime_ns, about.st_size)
        return seen


def _build(settings: Settings) -> None:
    """Has a process of its own, that yields to everybody, build what the library needs into the cache: training in
    this one would slow answers down. Of several workers' processes one trains, the others wait for it.
    """
    variables = {
        "NUMSTAB_KB": settings.kb, "NUMSTAB_DEMOS": settings.demos, "NUMSTAB_CACHE": settings.cache,
        "NUMSTAB_ENCODER": settings.encoder,
    }  # fmt: skip
    env = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    code = "import os; os.nice(10); from qa_service.answering.reload import build; build()"
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], env=env, timeout=_LONGEST, check=False, stdin=subprocess.DEVNULL)


def build() -> None:
    """What that process does."""
    settings = Settings.from_env(os.environ)
    library = Library.read(settings.kb, load_specs(settings.demos))
    matcher(settings, library, load_embedder(settings.encoder, settings.cache)).match("nan")
