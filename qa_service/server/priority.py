"""Prioritises the text of answers: while any client waits for a text, runs and rows of all answers are delayed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

GRACE_SECONDS = 0.02
"""The least delay of rows, in which other questions may arrive."""
MAX_DELAY_SECONDS = 3.0
"""The greatest delay of runs and rows."""


class TextPriority:
    """The texts that clients wait for; shared by all streams of an application, which run in one event loop."""

    def __init__(self) -> None:
        self.texts_begun = 0
        """The number of texts requested so far."""
        self._pending = 0
        self._no_text_pending = threading.Event()
        self._no_text_pending.set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._on_pause: tuple[float, Callable[[], None]] | None = None

    @property
    def is_pending(self) -> bool:
        """Whether a client waits for a text."""
        return self._pending > 0

    def call_in_pauses(self, seconds: float, call: Callable[[], None]) -> None:
        """Has the event loop call `call` once no text has been pending for `seconds`, after each text."""
        self._on_pause = seconds, call

    @contextmanager
    def pending(self) -> Iterator[None]:
        """Marks a text as pending for the duration of the block."""
        self.texts_begun += 1
        self._pending += 1
        self._no_text_pending.clear()
        if self._pause:
            self._pause.cancel()
        try:
            yield
        finally:
            self._pending -= 1
            if not self._pending:
                self._no_text_pending.set()
                if self._on_pause:
                    self._pause = asyncio.get_running_loop().call_later(*self._on_pause)
                for each in self._waiters:
                    if not each.done():
                        each.set_result(None)

    def wait_for_pending_texts_blocking(self) -> None:
        """Blocks a thread until no text is pending; gives up after `MAX_DELAY_SECONDS`."""
        self._no_text_pending.wait(MAX_DELAY_SECONDS)

    async def wait_for_pending_texts(self) -> None:
        """Waits `GRACE_SECONDS`, then until no text is pending; gives up after `MAX_DELAY_SECONDS`."""
        await asyncio.sleep(GRACE_SECONDS)
        if not self._pending:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        with suppress(TimeoutError):
            await asyncio.wait_for(waiter, MAX_DELAY_SECONDS)
        self._waiters.discard(waiter)
