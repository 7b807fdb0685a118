"""Authentication: API keys, the cookie that holds one in a browser, and which clients are operators."""

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from qa_service.errors import Unauthorized
from qa_service.server.api_keys import ApiKey, ApiKeyStore, Scope
from qa_service.server.problems import HttpProblem, send_problem
from qa_service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

_COOKIE = "numstab_key"
PUBLIC_PATHS = ("/livez", "/readyz", "/robots.txt")
_FRAMED_PATHS = "/embed/"  # shown in frames of other sites, where no cookie of ours is set
OPERATORS_PATHS = ("/metrics",)
"""Paths whose routes check for an operator themselves (`require_operator`); the scopes read and ask do not count."""
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")  # a route's `$` would match before a final line feed
_KEPT_HOSTS = 64  # names and addresses that were looked at last


class AuthMiddleware:
    """Refuses a request without a valid key (401), or whose key lacks the scope (403).

    With `is_public` no key is needed, except by routes that require an operator. A request that is passed on has in
    its state `api_key` (or None), `operator`, and `may_ask`: whether it may start runs, which some GET requests do. A
    path with a control character is answered with 404.
    """

    def __init__(self, app: "ASGIApp", *, settings: Settings, keys: ApiKeyStore, is_public: bool) -> None:
        self._app = app
        self._keys = keys
        self._is_public = is_public
        self._behind_proxy = bool(settings.proxies)

    async def __call__(self, scope: "Connection", receive: "Receive", send: "Send") -> None:
        """Passes an HTTP request on, refuses it, or redirects it to an address without its key."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if CONTROL_CHARACTERS.search(scope["path"]):
                raise HttpProblem(404)
            key = self._authorize(scope)
        except (Unauthorized, HttpProblem) as refusal:
            await send_problem(refusal, scope, receive, send)
            return
        operator = self._is_local(scope) or (key is not None and key.allows("operate"))
        may_ask = self._is_public or (key is not None and key.allows("ask"))
        scope.setdefault("state", {}).update(api_key=key, operator=operator, may_ask=may_ask)
        app = (self._key_to_cookie(scope) if key is not None else None) or self._app
        await app(scope, receive, send)

    def _authorize(self, scope: "Connection") -> ApiKey | None:
        """The key of a request that is allowed, None if it has none and needs none; raises `Unauthorized`."""
        path, method = scope["path"], scope["method"]
        wanted: Scope = "read" if method in ("GET", "HEAD") else "ask"
        secret = _secret(scope)
        key = self._keys.find(secret) if secret else None
        if self._is_public or path in PUBLIC_PATHS or path in OPERATORS_PATHS:
            return key
        if key is None or not key.allows(wanted):
            raise Unauthorized(wanted, known=key is not None)
        return key

    def _is_local(self, scope: "Connection") -> bool:
        """Whether the request comes from this machine, and not through a local proxy that the settings do not name.

        Its Host must be a loopback name, too, against DNS rebinding: another site may resolve its name to 127.0.0.1.
        """
        forwarded = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        ours = all(is_loopback(host_name(host)) for host in hosts)
        return is_loopback((scope.get("client") or ("", 0))[0]) and ours and (self._behind_proxy or not forwarded)

    def _key_to_cookie(self, scope: "Connection") -> Any:
        """For a GET with ?key=…, a redirect to the same address without it that sets the key as a cookie; else None."""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if scope["method"] != "GET" or "key" not in query or self._is_public:
            return None
        if scope["path"] in PUBLIC_PATHS or scope["path"].startswith(_FRAMED_PATHS):
            return None
        from starlette.responses import RedirectResponse

        secret = query.pop("key")
        path = "/" + scope["path"].lstrip("/")  # a Location that begins with // would lead to another host
        reply = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
        secure = scope.get("scheme") == "https"
        reply.set_cookie(_COOKIE, secret, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
        return reply


def _secret(scope: "Connection") -> str | None:
    """The secret that a request gives: as a Bearer token, in the query of a GET, or in our cookie; else None."""
    headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
    scheme, _, secret = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    if scope["method"] == "GET" and "key" in query:
        return str(query["key"])
    return _cookie(scope)


def _cookie(scope: "Connection") -> str | None:
    """The secret in our cookie. The others are not parsed: other applications of the host may set malformed ones."""
    for header, value in scope["headers"]:
        if header == b"cookie":
            for each in value.decode("latin-1").split(";"):
                name, equals, secret = each.partition("=")
                if equals and name.strip() == _COOKIE:
                    return str(secret.strip().strip('"'))
    return None


def require_operator(http: Any) -> None:
    """Raises `Unauthorized` unless the request is an operator's; for routes that only operators may use."""
    if not getattr(http.state, "operator", False):
        raise Unauthorized("operate", known=getattr(http.state, "api_key", None) is not None)


@lru_cache(_KEPT_HOSTS)
def host_name(host: str) -> str:
    """The name or address in a Host header or a URL's authority, in lower case, without port and brackets."""
    return re.sub(r":\d*$", "", host).strip("[]").rstrip(".").lower()


@lru_cache(_KEPT_HOSTS)
def is_loopback(host: str) -> bool:
    """Whether a name or address is `localhost` or a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
