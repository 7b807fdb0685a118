"""Connections: how long one may wait with its request, how many may be open, and how many pieces a body may have.

uvicorn closes a connection that is idle between two requests, but waits for the first request, and for the rest of one
that has begun, as long as the client likes.
"""

import asyncio
import resource
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEADER_TIMEOUT_SECONDS = 10.0
"""For the line and the headers of a request to arrive, from the first byte, or from the start of the connection."""
MAX_BODY_PIECES = 10_000
"""Chunks, or segments, in which a body may come: reading one takes microseconds, however short it is."""
BACKLOG = 256
"""Connections that are accepted at once, before any of them can be refused."""
_RESERVED = BACKLOG + 128  # descriptors for what is accepted at once, children, files and the store


@cache
def max_connections() -> int:
    """How many connections the limit of descriptors (`ulimit -n`, raised as far as allowed) leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(64, (65536 if soft == resource.RLIM_INFINITY else soft) - _RESERVED)


class LimitedConnection(H11Protocol):
    """A connection that is closed if its request does not arrive in time.

    Where more than `max_connections()` are open, the one that has waited longest with its request is closed,
    or this one if none waits: so idle connections displace only each other.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = _PiecesCounted(h11.SERVER, self.conn._max_incomplete_event_size)  # noqa: SLF001
        self._waiting = _WAITING.setdefault(self.server_state, {})
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the request; closes a connection where there are too many."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > max_connections():
            next(iter(self._waiting)).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Reads on; ends the wait once the headers are complete."""
        if not self._in_progress and self._timer is None:
            self._wait_for_request()
        super().data_received(data)
        if self._in_progress:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """The connection may be displaced while it is kept for another request."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self._in_progress:
            self._waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _in_progress(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_request(self) -> None:
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_WAITING: WeakKeyDictionary[ServerState, dict[LimitedConnection, None]] = WeakKeyDictionary()
"""The connections of each server that wait for a request, oldest first."""


class _PiecesCounted(h11.Connection):
    """A parser that refuses a request whose body comes in too many pieces."""

    _pieces = 0

    def next_event(self) -> Any:
        """The next event; raises `RemoteProtocolError`, to which the reply is 400."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            if self._pieces > MAX_BODY_PIECES:
                raise h11.RemoteProtocolError("a body in too many pieces")
        return event
