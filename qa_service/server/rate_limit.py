"""Rate limits: a moving window of requests per API key, or per IP address for requests without a key.

The middleware also sets `lab.clients.CLIENT`, by which the queue of runs is fair between clients, and by which a
request that needs many runs is charged for them.
"""

import time
from typing import TYPE_CHECKING, Any

from qa_service.errors import RateLimited
from qa_service.lab.clients import CLIENT, Client
from qa_service.server.problems import send_problem
from qa_service.shared_state import KEY_PREFIX, SharedState, SharedStateUnavailable

if TYPE_CHECKING:
    from limits import RateLimitItem, WindowStats
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOCK_JUMP_SECONDS = 2.0
"""A wall clock that differs by more than this from the monotonic clock has been set, not gradually adjusted (NTP)."""


class RateLimitMiddleware:
    """Refuses a client's POST beyond the rate with 429 and Retry-After; other methods count if their route charges.

    Replies to a POST have RateLimit-Limit, -Remaining and -Reset. With `limits` None there is no limit.
    """

    def __init__(self, app: "ASGIApp", *, limits: "RateLimits | None") -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on, with its client in `CLIENT`, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, limits, may_run = _client(scope), self._limits, scope.get("state", {}).get("may_ask", True)
        if limits is None:
            await self._serve(Client(name, may_run=may_run), scope, receive, send)
            return
        client = Client(name, lambda requests: limits.charge(name, requests), may_run)
        if scope["method"] != "POST":
            await self._serve(client, scope, receive, send)
            return
        try:
            await limits.hit(name)
        except RateLimited as refusal:
            await send_problem(refusal, scope, receive, send)
            return

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start" and message["status"] != RateLimited.status:
                message = {**message, "headers": [*message["headers"], *await limits.headers(name)]}
            await send(message)

        await self._serve(client, scope, receive, send_with_headers)

    async def _serve(self, client: Client, scope: "Scope", receive: "Receive", send: "Send") -> None:
        before = CLIENT.set(client)
        try:
            await self._app(scope, receive, send)
        finally:
            CLIENT.reset(before)


class RateLimits:
    """Counts the requests of each client in a moving window, in this process or, with `shared`, for all services.

    While the server of `shared` cannot be reached, each process counts for itself.
    """

    def __init__(self, rate: str, shared: SharedState | None = None) -> None:
        """`rate` is in the notation of the package limits, such as "600/minute"."""
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._rate: RateLimitItem = parse(rate)
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._shared = _SharedCounts(shared) if shared else None
        self._clock_offset = time.time() - time.monotonic()

    async def hit(self, client: str) -> None:
        """Counts one request; raises `RateLimited` beyond the rate."""
        has_jumped = self._clock_has_jumped()
        if self._shared:
            try:
                with self._shared.state.guarded():
                    if has_jumped:
                        await self._shared.storage.reset()
                    if not await self._shared.limiter.hit(self._rate, client):
                        raise self._refusal(await self._shared.limiter.get_window_stats(self._rate, client))
                    return
            except SharedStateUnavailable:
                pass
        self._hit_here(client, 1)

    def charge(self, client: str, requests: int) -> None:
        """Counts `requests` more requests, all or none; raises `RateLimited` if fewer are left. Blocking."""
        has_jumped = self._clock_has_jumped()
        if self._shared:
            try:
                with self._shared.state.guarded():
                    if has_jumped:
                        self._shared.blocking_storage.reset()
                    if not self._shared.blocking_limiter.hit(self._rate, client, cost=requests):
                        raise self._refusal(self._shared.blocking_limiter.get_window_stats(self._rate, client))
                    return
            except SharedStateUnavailable:
                pass
        self._hit_here(client, requests)

    async def headers(self, client: str) -> list[tuple[bytes, bytes]]:
        """The RateLimit headers of a response."""
        window = None
        if self._shared:
            try:
                with self._shared.state.guarded():
                    window = await self._shared.limiter.get_window_stats(self._rate, client)
            except SharedStateUnavailable:
                pass
        window = window or self._limiter.get_window_stats(self._rate, client)
        return [
            (b"ratelimit-limit", str(self._rate.amount).encode()),
            (b"ratelimit-remaining", str(window.remaining).encode()),
            (b"ratelimit-reset", str(_seconds_until(window)).encode()),
        ]

    async def close(self) -> None:
        """Closes the connections to the server."""
        if self._shared:
            await self._shared.close()

    def _hit_here(self, client: str, requests: int) -> None:
        if not self._limiter.hit(self._rate, client, cost=requests):
            raise self._refusal(self._limiter.get_window_stats(self._rate, client))

    def _refusal(self, window: "WindowStats") -> RateLimited:
        return RateLimited(str(self._rate), _seconds_until(window))

    def _clock_has_jumped(self) -> bool:
        """Whether the wall clock has been set since the last call; if so, resets the counts of this process.

        Their time stamps are those of the old clock, so a window might never end.
        """
        offset = time.time() - time.monotonic()
        has_jumped = abs(offset - self._clock_offset) > CLOCK_JUMP_SECONDS
        self._clock_offset = offset
        if has_jumped:
            self._storage.reset()
        return has_jumped


class _SharedCounts:
    """Counters on the shared server: an asynchronous client for requests, a blocking one for `charge`."""

    def __init__(self, state: SharedState) -> None:
        from limits.aio.storage import RedisStorage as AsyncRedisStorage
        from limits.aio.strategies import MovingWindowRateLimiter as AsyncMovingWindowRateLimiter
        from limits.storage import RedisStorage
        from limits.strategies import MovingWindowRateLimiter

        prefix = f"{KEY_PREFIX}rate"
        self.state = state
        self._pool = state.asyncio_pool()
        options: dict[str, Any] = {"connection_pool": self._pool}  # passed on to redis-py, though not in the type hints
        self.storage = AsyncRedisStorage(f"async+{state.url}", implementation="redispy", key_prefix=prefix, **options)
        self.limiter = AsyncMovingWindowRateLimiter(self.storage)
        self.blocking_storage = RedisStorage(state.url, connection_pool=state.pool, key_prefix=prefix)
        self.blocking_limiter = MovingWindowRateLimiter(self.blocking_storage)

    async def close(self) -> None:
        """Closes the connections; the next use opens new ones."""
        await self._pool.disconnect()
        self.state.close()


def _seconds_until(window: "WindowStats") -> int:
    """The seconds, at least 1, until the window allows more requests."""
    return max(1, round(window.reset_time - time.time()))


def _client(scope: "Scope") -> str:
    """The name by which a client is counted: that of its API key, else its address."""
    key = scope.get("state", {}).get("api_key")
    return f"key:{key.name}" if key else f"address:{(scope.get('client') or ('?', 0))[0]}"
