"""What stands before every route: who may come in, how often, how slowly, and what a browser may do with the reply."""

import asyncio
import ipaddress
import time
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from qa_service.errors import NumstabError, RateLimited, RequestTimeout, Unauthorized
from qa_service.server.api_keys import ApiKey, ApiKeyStore, Scope
from qa_service.server.problems import SlowClient, problem_response
from qa_service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Connection

_COOKIE = "numstab_key"
PUBLIC_PATHS = ("/livez", "/readyz", "/robots.txt")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
}
CLOCK_JUMP_SECONDS = 2.0  # seconds by which a clock is corrected in its stride
_SLOW_READER = 30.0  # seconds that one piece of a reply may take to leave
_SLOW_WRITER = 20.0  # seconds between two pieces of a request's body


class GatewayMiddleware:
    """An ASGI middleware. With `open_to_all` no key is asked for; /metrics is for operators all the same."""

    def __init__(self, app: "ASGIApp", settings: Settings, *, open_to_all: bool) -> None:
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._app = app
        self._keys = ApiKeyStore(settings.data)
        self._open_to_all = open_to_all
        self._behind_proxy = bool(settings.proxies)
        self._rate = parse(settings.rate) if settings.rate else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._shift = _now() - time.monotonic()

    async def __call__(self, scope: "Connection", receive: "Receive", send: "Send") -> None:
        """Lets a request through or answers it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extra = dict(_HEADERS)
        sending = _SendWithHeaders(send, extra)
        try:
            key = self._authorize(scope)
            scope.setdefault("state", {})["operator"] = self._is_local(scope) or bool(key and key.allows("operate"))
            if (moved := self._key_to_cookie(scope)) is not None:
                await moved(scope, receive, sending)
                return
            extra |= self._rate_limit(scope, key)
            await self._app(scope, _receive_with_timeout(receive), sending)
        except NumstabError as refusal:
            if sending.began:
                raise
            await problem_response(_request(scope), refusal)(scope, receive, sending)

    def _authorize(self, scope: "Connection") -> ApiKey | None:
        path, method = scope["path"], scope["method"]
        wanted: Scope = "operate" if path == "/metrics" else "read" if method in ("GET", "HEAD") else "ask"
        secret = _secret(scope)
        key = self._keys.find(secret) if secret else None
        if (
            path in PUBLIC_PATHS
            or (self._open_to_all and wanted != "operate")
            or (wanted == "operate" and self._is_local(scope))
        ):
            return key
        if key is None or not key.allows(wanted):
            raise Unauthorized(wanted, known=key is not None)
        return key

    def _is_local(self, scope: "Connection") -> bool:
        """From this machine itself; not through a proxy on it that we have not been told of."""
        forwarded = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
        return _local(scope) and (self._behind_proxy or not forwarded)

    def _key_to_cookie(self, scope: "Connection") -> Any:
        """A browser that comes with ?key=… is sent on without it, and keeps the key in a cookie."""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if scope["method"] != "GET" or "key" not in query or self._open_to_all:
            return None
        from starlette.responses import RedirectResponse

        secret = query.pop("key")
        reply = RedirectResponse(scope["path"] + (f"?{urlencode(query)}" if query else ""), 303)
        secure = scope.get("scheme") == "https"
        reply.set_cookie(_COOKIE, secret, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
        return reply

    def _rate_limit(self, scope: "Connection", key: ApiKey | None) -> dict[bytes, bytes]:
        """What a client may still ask for, as headers; raises `RateLimited`. Reading is free."""
        if self._rate is None or scope["method"] != "POST":
            return {}
        client = f"key:{key.name}" if key else f"address:{(scope.get('client') or ('?', 0))[0]}"
        shift = _now() - time.monotonic()
        if (
            abs(shift - self._shift) > CLOCK_JUMP_SECONDS
        ):  # the clock was set: what was counted by it means nothing any more
            self._limiter.storage.reset()
        self._shift = shift
        allowed = self._limiter.hit(self._rate, client)
        window = self._limiter.get_window_stats(self._rate, client)
        seconds = max(1, round(window.reset_time - _now()))
        if not allowed:
            raise RateLimited(str(self._rate), seconds)
        return {
            b"ratelimit-limit": str(self._rate.amount).encode(),
            b"ratelimit-remaining": str(window.remaining).encode(),
            b"ratelimit-reset": str(seconds).encode(),
        }


class _SendWithHeaders:
    """Sends a reply with more headers than the routes give; a reader who takes too long for a piece is cut off."""

    def __init__(self, send: "Send", extra: Mapping[bytes, bytes]) -> None:
        self._send = send
        self._extra = extra
        self.began = False

    async def __call__(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self.began = True
            given = {name.lower() for name, _ in message["headers"]}
            more = [(name, value) for name, value in self._extra.items() if name not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        try:
            async with asyncio.timeout(_SLOW_READER):
                await self._send(message)
        except TimeoutError:
            raise SlowClient from None


def _receive_with_timeout(receive: "Receive") -> "Receive":
    """Waits for the pieces of a body only so long; for a reader to leave, as long as it takes."""
    whole = False

    async def receive_soon() -> "Message":
        nonlocal whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), _SLOW_WRITER)
        except TimeoutError:
            raise RequestTimeout(_SLOW_WRITER) from None
        whole = not message.get("more_body", False)
        return message

    return receive_soon


def _secret(scope: "Connection") -> str | None:
    headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
    scheme, _, secret = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    if scope["method"] == "GET" and "key" in query:
        return str(query["key"])
    cookie = SimpleCookie(headers.get(b"cookie", ""))
    return str(cookie[_COOKIE].value) if _COOKIE in cookie else None


def _local(scope: "Connection") -> bool:
    try:
        return ipaddress.ip_address((scope.get("client") or ("", 0))[0]).is_loopback
    except ValueError:
        return False


def _request(scope: "Connection") -> Any:
    from starlette.requests import Request

    return Request(scope)


def _now() -> float:
    return time.time()
