"""A line before the lab: first come, first served, and everybody knows how many are before him."""

import threading
from collections import deque
from typing import Self


class Line:
    """At most `slots` are served at once."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[Ticket] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """How many could be served at once."""
        return self._free

    def join(self) -> "Ticket":
        """A place at the end of the line; it must be left again, served or not."""
        ticket = Ticket(self)
        with self._lock:
            self._waiting.append(ticket)
            self._serve()
        return ticket

    def place(self, ticket: "Ticket") -> int:
        """How many are before the ticket; 0 once it is served."""
        with self._lock:
            return self._waiting.index(ticket) + 1 if ticket in self._waiting else 0

    def leave(self, ticket: "Ticket") -> None:
        """Gives the slot, or the place in the line, to those behind."""
        with self._lock:
            if ticket.served.is_set():
                self._free += 1
            elif ticket in self._waiting:
                self._waiting.remove(ticket)
            self._serve()

    def _serve(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().served.set()


class Ticket:
    """A place in the line; a context that is left when it ends."""

    def __init__(self, line: Line) -> None:
        self.served = threading.Event()
        self._line = line

    @property
    def place(self) -> int:
        """1 for the next to be served, 0 for who is being served."""
        return 0 if self.served.is_set() else self._line.place(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.leave(self)
