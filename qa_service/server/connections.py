"""Limits on connections: the time until a request has arrived, their number, and the pieces of a request body.

uvicorn closes a connection that is idle between two requests, but has no timeout for the first request, nor for the
rest of one that has begun.
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
"""The time for a request's headers to arrive: from its first byte, or, for the first request, from the connection."""
MAX_BODY_PIECES = 10_000
"""HTTP chunks, or reads from the socket, of one request body: each costs microseconds, however short it is."""
BACKLOG = 256
"""The listen backlog: as many connections may be accepted in a row before any of them is refused."""
_RESERVED = BACKLOG + 128  # file descriptors for the backlog, child processes, files and the store


@cache
def max_connections() -> int:
    """The number of connections for which there are file descriptors; raises the soft limit (`ulimit -n`) if it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(64, (65536 if soft == resource.RLIM_INFINITY else soft) - _RESERVED)


class LimitedConnection(H11Protocol):
    """A connection that is closed if its request does not arrive within `HEADER_TIMEOUT_SECONDS`.

    If more than `max_connections()` are open, the one that has been without a request for longest is closed: at the
    latest the new one itself. So connections with a request in progress are never displaced.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = _PieceLimit(h11.SERVER, self.conn._max_incomplete_event_size)  # noqa: SLF001
        self._waiting = _WAITING.setdefault(self.server_state, {})
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timer of the request; closes the longest waiting connection if there are too many."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > max_connections():
            longest = next(iter(self._waiting))
            longest.stop_waiting()  # now: it is lost only after all that are being accepted with this one
            self.connections.discard(longest)
            longest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parses the data; stops the timer once the headers are complete."""
        if not self._in_progress and self._timer is None:
            self._wait_for_request()
        super().data_received(data)
        if self._in_progress:
            self.stop_waiting()

    def on_response_complete(self) -> None:
        """Marks a connection that is kept alive as waiting, so that it may be displaced."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self._in_progress:
            self._waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self.stop_waiting()
        super().connection_lost(exc)

    @property
    def _in_progress(self) -> bool:
        """Whether a request has been received whose response is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_request(self) -> None:
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, self.transport.abort)

    def stop_waiting(self) -> None:
        """Stops the timer; the connection is no longer displaced."""
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_WAITING: WeakKeyDictionary[ServerState, dict[LimitedConnection, None]] = WeakKeyDictionary()
"""Server → its connections that wait for a request, in the order in which they began to wait."""


class _PieceLimit(h11.Connection):
    """An HTTP parser that rejects a request whose body comes in more than `MAX_BODY_PIECES` pieces."""

    _pieces = 0

    def next_event(self) -> Any:
        """The next event; raises `RemoteProtocolError`, which is answered with 400."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            if self._pieces > MAX_BODY_PIECES:
                raise h11.RemoteProtocolError("a body in too many pieces")
        return event
