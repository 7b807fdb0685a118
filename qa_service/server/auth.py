"""Authentication: API keys, the cookie that keeps one in a browser, and which clients are operators."""

import ipaddress
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from qa_service.errors import Unauthorized
from qa_service.server.api_keys import ApiKey, ApiKeyStore, Scope
from qa_service.server.problems import send_problem
from qa_service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

_COOKIE = "numstab_key"
PUBLIC_PATHS = ("/livez", "/readyz", "/robots.txt")


class AuthMiddleware:
    """Refuses a request without a key that allows it: 401 without one, 403 with one that does not allow this.

    With `open_to_all` no key is needed, except for /metrics, which is for operators. The request's state then holds
    `api_key` (or None) and `operator`.
    """

    def __init__(self, app: "ASGIApp", *, settings: Settings, open_to_all: bool) -> None:
        self._app = app
        self._keys = ApiKeyStore(settings.data)
        self._open_to_all = open_to_all
        self._behind_proxy = bool(settings.proxies)

    async def __call__(self, scope: "Connection", receive: "Receive", send: "Send") -> None:
        """Passes an HTTP request on, refuses it, or redirects it to an address without its key."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            key = self._authorize(scope)
        except Unauthorized as refusal:
            await send_problem(refusal, scope, receive, send)
            return
        operator = self._is_local(scope) or (key is not None and key.allows("operate"))
        scope.setdefault("state", {}).update(api_key=key, operator=operator)
        app = self._key_to_cookie(scope) or self._app
        await app(scope, receive, send)

    def _authorize(self, scope: "Connection") -> ApiKey | None:
        path, method = scope["path"], scope["method"]
        wanted: Scope = "operate" if path == "/metrics" else "read" if method in ("GET", "HEAD") else "ask"
        secret = _secret(scope)
        key = self._keys.find(secret) if secret else None
        if path in PUBLIC_PATHS or (self._is_local(scope) if wanted == "operate" else self._open_to_all):
            return key
        if key is None or not key.allows(wanted):
            raise Unauthorized(wanted, known=key is not None)
        return key

    def _is_local(self, scope: "Connection") -> bool:
        """Whether the request comes from this machine, not through a local proxy that the settings do not name."""
        forwarded = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
        return _from_loopback(scope) and (self._behind_proxy or not forwarded)

    def _key_to_cookie(self, scope: "Connection") -> Any:
        """A redirect for a browser that comes with ?key=…: to the same address without it, the key in a cookie."""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if scope["method"] != "GET" or "key" not in query or self._open_to_all:
            return None
        from starlette.responses import RedirectResponse

        secret = query.pop("key")
        reply = RedirectResponse(scope["path"] + (f"?{urlencode(query)}" if query else ""), 303)
        secure = scope.get("scheme") == "https"
        reply.set_cookie(_COOKIE, secret, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
        return reply


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


def _from_loopback(scope: "Connection") -> bool:
    try:
        return ipaddress.ip_address((scope.get("client") or ("", 0))[0]).is_loopback
    except ValueError:
        return False
