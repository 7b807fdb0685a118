"""A crowd reads before it watches: what follows a text, runs and rows, stands back while others wait for theirs."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_MOMENT, _PATIENCE = 0.02, 3.0  # seconds that evidence stands back at least, and at most


class TextsFirst:
    """What the streams of one process agree on, all of them in its event loop."""

    def __init__(self) -> None:
        self._coming = 0
        self._calm = threading.Event()
        self._calm.set()
        self._standing_back: set[asyncio.Future[None]] = set()

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Around the wait for a text."""
        self._coming += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._coming -= 1
            if not self._coming:
                self._calm.set()
                for each in self._standing_back:
                    if not each.done():
                        each.set_result(None)

    def wait(self) -> None:
        """In a thread: until all texts are there, but not for ever."""
        self._calm.wait(_PATIENCE)

    async def stand_back(self) -> None:
        """For a moment, in which others may come, and then until all texts are there, but not for ever."""
        await asyncio.sleep(_MOMENT)
        if not self._coming:
            return
        calm = asyncio.get_running_loop().create_future()
        self._standing_back.add(calm)
        with suppress(TimeoutError):
            await asyncio.wait_for(calm, _PATIENCE)
        self._standing_back.discard(calm)


TEXTS_FIRST = TextsFirst()
