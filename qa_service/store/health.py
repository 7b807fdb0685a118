"""A health probe of the store, for /readyz: the result is cached for a second, the ping times out after two."""

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qa_service.store import Store

_MAX_AGE_SECONDS = 1.0
PING_TIMEOUT_SECONDS = 2.0


class HealthProbe:
    """Pings a store in a thread, never twice at the same time. May be used from several threads."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._pinging = threading.Lock()
        self._answered = threading.Condition()
        self._at = float("-inf")
        self._problem: str | None = None
        self._thread: threading.Thread | None = None

    def problem(self) -> str | None:
        """The error of the store, None if it can be reached; blocks for two seconds at most."""
        asked = time.monotonic()
        if asked - self._at < _MAX_AGE_SECONDS:
            return self._problem
        if self._pinging.acquire(blocking=False):
            self._thread = threading.Thread(target=self._ping, daemon=True, name="ping")
            self._thread.start()
        with self._answered:
            answered = self._answered.wait_for(lambda: self._at >= asked, PING_TIMEOUT_SECONDS)
        return self._problem if answered else f"no answer within {PING_TIMEOUT_SECONDS:g} s"

    def close(self) -> None:
        """Waits for a ping in progress, for two seconds at most."""
        if self._thread is not None:
            self._thread.join(PING_TIMEOUT_SECONDS)

    def _ping(self) -> None:
        problem: str | None = None
        try:
            self._store.ping()
        except Exception as error:  # any failure means that the store is not reachable
            problem = str(error)
        with self._answered:
            self._problem, self._at = problem, time.monotonic()
            self._pinging.release()
            self._answered.notify_all()
