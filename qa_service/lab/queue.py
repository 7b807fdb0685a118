"""A line before the lab: first come, first served, and everybody knows how many are before him."""

import threading
from collections import deque
from typing import Self


class FifoQueue:
    """At most `slots` are served at once."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[QueueSlot] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """How many could be served at once."""
        return self._free

    def join(self) -> "QueueSlot":
        """A place at the end of the line; it must be left again, served or not."""
        ticket = QueueSlot(self)
        with self._lock:
            self._waiting.append(ticket)
            self._grant()
        return ticket

    def place(self, ticket: "QueueSlot") -> int:
        """How many are before the ticket; 0 once it is served."""
        with self._lock:
            return self._waiting.index(ticket) + 1 if ticket in self._waiting else 0

    def leave(self, ticket: "QueueSlot") -> None:
        """Gives the slot, or the place in the line, to those behind."""
        with self._lock:
            if ticket.granted.is_set():
                self._free += 1
            elif ticket in self._waiting:
                self._waiting.remove(ticket)
            self._grant()

    def _grant(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().granted.set()


class QueueSlot:
    """A place in the line; a context that is left when it ends."""

    def __init__(self, line: FifoQueue) -> None:
        self.granted = threading.Event()
        self._line = line

    @property
    def place(self) -> int:
        """1 for the next to be served, 0 for who is being served."""
        return 0 if self.granted.is_set() else self._line.place(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.leave(self)
