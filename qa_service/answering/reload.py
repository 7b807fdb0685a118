"""Reloads kb/ and demos/ while the service runs: everything or, if any file is invalid, nothing."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadContent
from qa_service.retrieval.embedder import load_embedder
from qa_service.settings import Settings
from qa_service.telemetry.logging import log_event

_TRAINING_TIMEOUT = 600.0  # seconds
_POLL_SECONDS = 1.0
_CLOSE_TIMEOUT = 5.0  # seconds
_Fingerprint = dict[Path, tuple[int, int]]


def train_in_subprocess(settings: Settings) -> None:
    """Fills the cache (vectors, classifier) in a process of low priority; in this one it would slow answers down.

    Of several workers' processes one trains, and the others wait for it.
    """
    variables = {
        "NUMSTAB_KB": settings.kb,
        "NUMSTAB_DEMOS": settings.demos,
        "NUMSTAB_CACHE": settings.cache,
        "NUMSTAB_ENCODER": settings.encoder,
    }
    env = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    code = "import os; os.nice(10); from qa_service.answering.reload import fill_cache; fill_cache()"
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-c", code], env=env, timeout=_TRAINING_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )


def fill_cache() -> None:
    """Runs in that process: the first match computes the vectors, trains the classifier and stores both."""
    settings = Settings.from_env(os.environ)
    Knowledge.read(settings, load_embedder(settings.encoder, settings.cache)).matcher.match("nan")


class KnowledgeReloader:
    """Replaces a service's knowledge when the files have changed.

    `problem` is the error of the last attempt, None if it succeeded; shown to operators only.
    """

    def __init__(
        self,
        service: Service,
        settings: Settings,
        on_result: Callable[[bool], None],
        *,
        train: Callable[[Settings], None] = train_in_subprocess,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """`on_result` is called after each attempt with whether it succeeded; `train` fills the cache beforehand."""
        self._service = service
        self._settings = settings
        self._on_result = on_result
        self._train = train
        self._poll_seconds = poll_seconds
        self._one_at_a_time = threading.Lock()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.problem: str | None = None

    def reload_in_background(self) -> None:
        """Reloads once, in a thread of its own."""
        self._start(threading.Thread(target=self.reload, daemon=True, name="reload"))

    def reload(self) -> bool:
        """Reloads once; returns whether it succeeded. If not, the current knowledge stays in use."""
        with self._one_at_a_time:
            began = time.monotonic()
            try:
                knowledge = self._read()
            except Exception as error:  # whatever the error, the current knowledge stays in use
                problems = error.problems if isinstance(error, BadContent) else (f"{type(error).__name__}: {error}",)
                self.problem = "\n".join(problems)
                for line in problems:
                    log_event("reload refused, the older reading stays", 40, problem=line)
            else:
                self._service.replace_knowledge(knowledge)
                self.problem = None
                entries, experiments = len(knowledge.library), len(knowledge.experiments)
                seconds = round(time.monotonic() - began, 1)
                log_event("reloaded", entries=entries, experiments=experiments, seconds=seconds)
            self._on_result(self.problem is None)
            return self.problem is None

    def watch(self) -> None:
        """Reloads, in a thread of its own and until `close`, whenever a file has changed and is then left unchanged
        for one poll.
        """
        before = self._fingerprint()
        self._closed.clear()
        self._start(threading.Thread(target=self._keep_watching, args=(before,), daemon=True, name="watch"))

    def close(self) -> None:
        """Stops watching; waits for a reload in progress, for five seconds at most."""
        self._closed.set()
        for thread in self._threads:
            thread.join(_CLOSE_TIMEOUT)

    def _start(self, thread: threading.Thread) -> None:
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def _read(self) -> Knowledge:
        knowledge = Knowledge.read(self._settings, self._service.knowledge.matcher.embedder)
        if not knowledge.matcher.is_cached:
            self._train(self._settings)
        knowledge.matcher.match("nan")  # loads the model ahead of the first question; trains it if that failed above
        return knowledge

    def _keep_watching(self, read: _Fingerprint) -> None:
        last = read
        while not self._closed.wait(self._poll_seconds):
            now = self._fingerprint()
            if now != read and now == last:
                read = now
                self.reload()
            last = now

    def _fingerprint(self) -> _Fingerprint:
        """Path → modification time (ns) and size of every file of kb/ and demos/."""
        found: _Fingerprint = {}
        for path in (*self._settings.kb.rglob("*.toml"), *self._settings.demos.rglob("*.py")):
            try:
                status = path.stat()
            except OSError:  # deleted since it was listed
                continue
            found[path] = (status.st_mtime_ns, status.st_size)
        return found
