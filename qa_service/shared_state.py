"""A Valkey or Redis server with the state that workers and machines share, behind a circuit breaker.

A call that fails or times out opens the breaker. While it is open, calls fail at once, and a background thread pings
the server; the first reply closes the breaker. So an unreachable server costs each process at most one timeout.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from qa_service.errors import MissingPackage
from qa_service.telemetry.subscribers import Subscribers

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import BlockingConnectionPool as AsyncPool

CONNECT_SECONDS, REPLY_SECONDS = 0.25, 0.7
"""The longest that a call waits for a connection, and then for its reply: together less than a second."""
_PING_SECONDS = 1.0  # between the pings while the breaker is open
_LIMITS: Any = {
    "max_connections": 32,  # per process; a call waits up to `timeout` for a free one
    "timeout": CONNECT_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": REPLY_SECONDS,
    "protocol": 2,
}
KEY_PREFIX = "numstab:"


class SharedStateUnavailable(Exception):
    """The server is unreachable, timed out, or returned an error; the caller must do without shared state."""


class SharedState:
    """A client of the server with its circuit breaker. Thread-safe; connections are opened on first use."""

    def __init__(self, url: str) -> None:
        """`url` is the setting's value. Raises `MissingPackage` if the client library is not installed."""
        try:
            from redis import BlockingConnectionPool, Redis, RedisError
        except ImportError as error:
            raise MissingPackage("numstab[shared]") from error
        self.url = re.sub(r"^valkey(s?)://", r"redis\1://", url)  # the schemes that the client library knows
        self.pool = BlockingConnectionPool.from_url(
            self.url, decode_responses=True, retry=_one_more_attempt(), **_LIMITS
        )
        self._errors = (RedisError, OSError)
        self._client = Redis(connection_pool=self.pool)
        self._answers = threading.Event()
        self._answers.set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pinging: threading.Thread | None = None
        self._failed = Subscribers[Callable[[], None]]()

    def asyncio_pool(self) -> "AsyncPool":
        """A new pool of connections for one event loop; the caller closes it."""
        from redis.asyncio import BlockingConnectionPool as AsyncPool

        retry = _one_more_attempt(asynchronous=True)
        return AsyncPool.from_url(self.url, decode_responses=True, retry=retry, **_LIMITS)

    @property
    def available(self) -> bool:
        """Whether the breaker is closed: False from a failure until the server answers a ping."""
        return self._answers.is_set()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` after each failure; returns a function that unsubscribes it."""
        return self._failed.add(listener)

    @contextmanager
    def guarded(self) -> Iterator["Redis"]:
        """Yields the client; an error of a call in the block opens the breaker.

        Raises `SharedStateUnavailable` for such an error, and at once while the breaker is open. Calls of another
        client of the same server in the block, asynchronous ones too, are guarded in the same way.
        """
        if not self._answers.is_set():
            raise SharedStateUnavailable
        try:
            yield self._client
        except self._errors as error:
            self._open_breaker(type(error).__name__)
            raise SharedStateUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Closes the idle connections and ends the pings; the next use opens new connections."""
        self._closed.set()
        self.pool.disconnect(inuse_connections=False)
        with self._lock:
            pinging = self._pinging
        if pinging is not None:
            pinging.join(CONNECT_SECONDS + REPLY_SECONDS)

    def _open_breaker(self, why: str) -> None:
        self._answers.clear()
        for listener in self._failed:
            listener()
        with self._lock:
            if self._pinging is None:
                logging.getLogger("numstab").warning("the server of NUMSTAB_SHARED is given up for now: %s", why)
                self._closed.clear()
                self._pinging = threading.Thread(target=self._keep_pinging, daemon=True, name="shared-ping")
                self._pinging.start()

    def _keep_pinging(self) -> None:
        """Pings the server until it answers, or this object is closed; then closes the breaker."""
        answered = False
        while not (answered or self._closed.wait(_PING_SECONDS)):
            with suppress(*self._errors):
                answered = bool(self._client.ping())
        with self._lock:  # a failure from now on starts another thread
            self._pinging = None
            self._answers.set()
        if answered:
            logging.getLogger("numstab").info("the server of NUMSTAB_SHARED answers again")


def _one_more_attempt(*, asynchronous: bool = False) -> Any:
    """The retry policy of redis-py: a command is sent once more, at once, if its connection turns out to be closed.

    A command whose reply times out is not repeated.
    """
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as ConnectionLost
    from redis.retry import Retry

    return (AsyncRetry if asynchronous else Retry)(NoBackoff(), 1, supported_errors=(ConnectionLost,))
