"""A crowd reads before it watches: what follows a text, runs and rows, stands back while others wait for theirs."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

GRACE_SECONDS, TIMEOUT_SECONDS = 0.02, 3.0  # seconds that evidence stands back at least, and at most


class TextPriority:
    """What the streams of one process agree on, all of them in its event loop."""

    def __init__(self) -> None:
        self._coming = 0
        self._no_text_pending = threading.Event()
        self._no_text_pending.set()
        self._waiters: set[asyncio.Future[None]] = set()

    @contextmanager
    def pending(self) -> Iterator[None]:
        """Around the wait for a text."""
        self._coming += 1
        self._no_text_pending.clear()
        try:
            yield
        finally:
            self._coming -= 1
            if not self._coming:
                self._no_text_pending.set()
                for each in self._waiters:
                    if not each.done():
                        each.set_result(None)

    def wait_for_texts_blocking(self) -> None:
        """In a thread: until all texts are there, but not for ever."""
        self._no_text_pending.wait(TIMEOUT_SECONDS)

    async def wait_for_texts(self) -> None:
        """For a moment, in which others may come, and then until all texts are there, but not for ever."""
        await asyncio.sleep(GRACE_SECONDS)
        if not self._coming:
            return
        calm = asyncio.get_running_loop().create_future()
        self._waiters.add(calm)
        with suppress(TimeoutError):
            await asyncio.wait_for(calm, TIMEOUT_SECONDS)
        self._waiters.discard(calm)


TEXTS_FIRST = TextPriority()
