"""A queue for a limited number of slots, fair between clients, with the position of each request that waits.

Start-time fair queuing (Goyal, Vin and Cheng 1996): a request's tag is the number of turns its client has had, counted
from where the others were when it came, and the least tag is next. So clients take turns however many requests each has
waiting, a client alone has all slots, and within one client the order is that of arrival.
"""

import threading
from typing import Self

from qa_service.lab.clients import ClientNames


class FairQueue:
    """A semaphore of `slots` slots, granted to the waiting clients in turn. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self._slots = self._free = slots
        self._waiting: list[QueueSlot] = []  # in order of arrival
        self._positions: dict[QueueSlot, int] | None = None  # 1 for the next; None after a change
        self._turn = 0  # the tag of the latest grant
        self._next_tags: dict[str, int] = {}  # of clients that are ahead of `_turn`
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of requests that wait for a slot."""
        return len(self._waiting)

    @property
    def free_slots(self) -> int:
        """The number of slots that nobody holds."""
        return max(0, self._free)

    def resize(self, slots: int) -> None:
        """Have as many slots from now on; where fewer are left than are held, none is granted until enough are free."""
        with self._lock:
            self._free += slots - self._slots
            self._slots = slots
            self._grant()

    def waiting_of(self, client: str) -> int:
        """The number of requests of this client that wait for a slot."""
        with self._lock:
            return sum(client in slot.clients for slot in self._waiting)

    def join(self, clients: ClientNames | None = None) -> "QueueSlot":
        """Enqueue a request for a slot, which is granted at the turn of any of the clients.

        It must be left again, granted or not: use it as a context manager.
        """
        slot = QueueSlot(self, clients or ClientNames(""))
        with self._lock:
            self._waiting.append(slot)
            self._grant()
        return slot

    def position(self, slot: "QueueSlot") -> int:
        """The position of a request in the queue, 1 for the next; 0 once its slot is granted."""
        with self._lock:
            if self._positions is None:
                ordered = sorted(self._tags(), key=lambda tagged: tagged[0])  # stable: equal tags by arrival
                self._positions = {other: place for place, (_, _, other) in enumerate(ordered, 1)}
            return self._positions.get(slot, 0)

    def leave(self, slot: "QueueSlot") -> None:
        """Give a granted slot to the next in the queue, or withdraw a request that still waits."""
        with self._lock:
            if slot.granted.is_set():
                self._free += 1
            elif slot in self._waiting:
                self._waiting.remove(slot)
            self._grant()

    def _grant(self) -> None:
        self._positions = None
        while self._free > 0 and self._waiting:
            tag, client, slot = min(self._tags(), key=lambda tagged: tagged[0])
            self._free -= 1
            self._waiting.remove(slot)
            self._turn = max(self._turn, tag)
            self._next_tags[client] = tag + 1
            self._next_tags = {name: each for name, each in self._next_tags.items() if each > self._turn}
            slot.granted.set()

    def _tags(self) -> "list[tuple[int, str, QueueSlot]]":
        """(tag, client, request) of each request that waits; of several clients, the one whose turn comes first."""
        tagged = []
        following: dict[str, int] = {}
        for slot in self._waiting:
            tag, client = min(
                (following.get(name, self._next_tags.get(name, self._turn)), name) for name in slot.clients
            )
            following[client] = tag + 1
            tagged.append((tag, client, slot))
        return tagged


class QueueSlot:
    """A request for a slot of the queue; a context manager that leaves the queue when it ends.

    `granted` is set once the slot may be used.
    """

    def __init__(self, queue: FairQueue, clients: ClientNames) -> None:
        self.granted = threading.Event()
        self.clients = clients
        self._queue = queue

    @property
    def position(self) -> int:
        """The position of this request in the queue, 1 for the next; 0 once its slot is granted."""
        return 0 if self.granted.is_set() else self._queue.position(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.leave(self)
