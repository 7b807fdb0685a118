"""A thread pool for calls of the store that a client waits for, so that a store that hangs blocks nothing else."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from qa_service.errors import StoreUnavailable

THREADS = 4
MAX_SECONDS = 5.0
"""The longest that a client waits for the store."""
MAX_QUEUED_SECONDS = 2.0
"""A call that has waited longer for a thread is not begun: its client has been, or will be, told that it failed."""


class StoreThreads:
    """At most `THREADS` daemon threads, started on demand; one that hangs does not keep the process from ending."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0

    async def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Calls the function in one of the threads; raises what it raises, or `StoreUnavailable` after 5 s."""
        done: Future[None] = Future()
        asked = time.monotonic()

        def work() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                if time.monotonic() - asked > MAX_QUEUED_SECONDS:
                    raise StoreUnavailable("busy")
                function(*arguments)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._jobs.put(work)
        if self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._keep_working, daemon=True, name="store").start()
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await asyncio.wrap_future(done)
        except TimeoutError as error:
            raise StoreUnavailable("no reply") from error

    def close(self) -> None:
        """Ends the threads after the queued calls, without waiting for them; the next call starts others."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _keep_working(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
