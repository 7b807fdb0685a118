"""Checks of the Host and the origin of requests, against DNS rebinding and cross-site request forgery."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qa_service.server.auth import host_name, is_loopback
from qa_service.server.problems import HttpProblem, send_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OWN_SITE = ("same-origin", "none")  # Sec-Fetch-Site: from a page of ours, or from no page


class OriginMiddleware:
    """Refuses a cross-origin request with an unsafe method such as POST (403), unless its origin is one of `origins`.

    With `hosts`, a request whose Host is neither one of them nor a loopback name is refused (421). Clients that are not
    browsers send neither Sec-Fetch-Site nor Origin, and are not affected by the first rule.
    """

    def __init__(self, app: "ASGIApp", *, hosts: frozenset[str], origins: frozenset[str]) -> None:
        self._app = app
        self._hosts = frozenset(map(host_name, hosts))
        self._origins = origins

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on or refuses it."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            status = 0
            if not self._is_addressed_to_us(headers.get(b"host", "")):
                status = 421
            elif scope["method"] not in _SAFE_METHODS and not self._is_from_us(headers):
                status = 403
            if status:
                await send_problem(HttpProblem(status), scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_addressed_to_us(self, host: str) -> bool:
        name = host_name(host)
        return not self._hosts or name in self._hosts or is_loopback(name)

    def _is_from_us(self, headers: dict[bytes, str]) -> bool:
        """Whether a request has an allowed origin, the service's own, or none."""
        origin = headers.get(b"origin")
        if origin is not None and (origin in self._origins or "*" in self._origins):
            return True
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            return site in _OWN_SITE
        return origin is None or _authority(origin) == headers.get(b"host", "").lower()


def _authority(origin: str) -> str:
    """The host and port of an origin, "" if it is malformed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
