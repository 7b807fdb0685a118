"""A FIFO queue for a limited number of slots, with the position of each request that waits."""

import threading
from collections import deque
from typing import Self


class FifoQueue:
    """A fair semaphore of `slots` slots, granted in order of arrival. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[QueueSlot] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of requests that wait for a slot."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """The number of slots that nobody holds."""
        return self._free

    def join(self) -> "QueueSlot":
        """Enqueue a request for a slot. It must be left again, granted or not: use it as a context manager."""
        slot = QueueSlot(self)
        with self._lock:
            self._waiting.append(slot)
            self._grant()
        return slot

    def position(self, slot: "QueueSlot") -> int:
        """1 for the next in the queue; 0 once the slot is granted."""
        with self._lock:
            return self._waiting.index(slot) + 1 if slot in self._waiting else 0

    def leave(self, slot: "QueueSlot") -> None:
        """Give a granted slot to the next in the queue, or withdraw a request that still waits."""
        with self._lock:
            if slot.granted.is_set():
                self._free += 1
            elif slot in self._waiting:
                self._waiting.remove(slot)
            self._grant()

    def _grant(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().granted.set()


class QueueSlot:
    """A request for a slot of the queue; a context manager that leaves the queue when it ends.

    `granted` is set once the slot may be used.
    """

    def __init__(self, queue: FifoQueue) -> None:
        self.granted = threading.Event()
        self._queue = queue

    @property
    def position(self) -> int:
        """1 for the next in the queue; 0 once the slot is granted."""
        return 0 if self.granted.is_set() else self._queue.position(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.leave(self)
