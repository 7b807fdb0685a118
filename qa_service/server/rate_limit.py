"""Rate limits: a moving window of requests for each API key, or for each address without one.

Also says whose request it is (`lab.clients.CLIENT`): the queue of runs is fair between clients, and a request that
needs many runs is charged for them.
"""

import time
from typing import TYPE_CHECKING

from qa_service.errors import RateLimited
from qa_service.lab.clients import CLIENT, Client
from qa_service.server.problems import send_problem

if TYPE_CHECKING:
    from limits import RateLimitItem
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOCK_JUMP_SECONDS = 2.0
"""A wall clock that moves by more than this against the monotonic clock has been set, not gradually corrected (NTP)."""


class RateLimitMiddleware:
    """Refuses a client's POST beyond the rate with 429 and Retry-After; other requests count if their route charges.

    `rate` is written as the package limits has it, such as "600/minute"; empty means no limit. `storage_uri` says where
    hits are counted, such as "memory://" for this process alone. Replies get RateLimit-Limit, -Remaining and -Reset.
    """

    def __init__(self, app: "ASGIApp", *, rate: str, storage_uri: str) -> None:
        from limits import parse
        from limits.storage import Storage, storage_from_string
        from limits.strategies import MovingWindowRateLimiter

        storage = storage_from_string(storage_uri)
        assert isinstance(storage, Storage)  # a URI beginning with async+ would give another interface
        self._app = app
        self._rate = parse(rate) if rate else None
        self._storage = storage
        self._limiter = MovingWindowRateLimiter(storage)
        self._clock_offset = time.time() - time.monotonic()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on, as its client's, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, rate = _client(scope), self._rate
        if rate is None:
            await self._serve(Client(name), scope, receive, send)
            return
        client = Client(name, lambda requests: self._hit(rate, name, requests))
        if scope["method"] != "POST":
            await self._serve(client, scope, receive, send)
            return
        try:
            self._hit(rate, name, 1)
        except RateLimited as refusal:
            await send_problem(refusal, scope, receive, send)
            return

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start" and message["status"] != RateLimited.status:
                message = {**message, "headers": [*message["headers"], *self._headers(rate, name)]}
            await send(message)

        await self._serve(client, scope, receive, send_with_headers)

    async def _serve(self, client: Client, scope: "Scope", receive: "Receive", send: "Send") -> None:
        before = CLIENT.set(client)
        try:
            await self._app(scope, receive, send)
        finally:
            CLIENT.reset(before)

    def _hit(self, rate: "RateLimitItem", client: str, requests: int) -> None:
        """Counts so many requests, all or none; raises `RateLimited` if that is more than are left."""
        offset = time.time() - time.monotonic()
        if abs(offset - self._clock_offset) > CLOCK_JUMP_SECONDS:  # hits were counted by the old time
            self._storage.reset()
        self._clock_offset = offset
        if not self._limiter.hit(rate, client, cost=requests):
            raise RateLimited(str(rate), self._window(rate, client)[1])

    def _headers(self, rate: "RateLimitItem", client: str) -> list[tuple[bytes, bytes]]:
        """The RateLimit headers of a response."""
        remaining, seconds = self._window(rate, client)
        return [
            (b"ratelimit-limit", str(rate.amount).encode()),
            (b"ratelimit-remaining", str(remaining).encode()),
            (b"ratelimit-reset", str(seconds).encode()),
        ]

    def _window(self, rate: "RateLimitItem", client: str) -> tuple[int, int]:
        """How many requests are left, and the seconds until there are more."""
        window = self._limiter.get_window_stats(rate, client)
        return window.remaining, max(1, round(window.reset_time - time.time()))


def _client(scope: "Scope") -> str:
    key = scope.get("state", {}).get("api_key")
    return f"key:{key.name}" if key else f"address:{(scope.get('client') or ('?', 0))[0]}"
