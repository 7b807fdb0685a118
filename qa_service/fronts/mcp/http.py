"""The protocol over streamable HTTP. No session is kept: any worker answers any request."""

import json
import secrets
from typing import TYPE_CHECKING

from qa_service.fronts.mcp.calls import SESSION_HEADER, CallsInProgress
from qa_service.fronts.mcp.sessions import SessionsOnDemand
from qa_service.server.auth import host_name, is_loopback
from qa_service.server.problems import HttpProblem, send_problem
from qa_service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

SESSIONS_STATE = "mcp_sessions"
"""The name in a request's state under which the endpoint finds the sessions of this server's lifespan."""
_VERSION = b"mcp-protocol-version"
_SESSION = SESSION_HEADER.encode()
_CANCELLED = "notifications/cancelled"
_MAX_CANCELLATION_BYTES = 2000


class McpEndpoint:
    """The ASGI application at `path`.

    Where the settings name no hosts, a client on this machine must address this machine: a page elsewhere can give its
    own host name the address 127.0.0.1, and its requests would then come from no other origin.

    A client of the specification 2025-11-25 cancels a call by another request. So that it can name its own calls and
    nobody else's, it gets a secret name, which it sends with each request (`Mcp-Session-Id`); nothing else depends on
    it, and a worker that does not know the call ignores the cancellation.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        self.path = path  # under which its requests are counted
        self._any_host = bool(settings.hosts)  # those that are named are checked by `OriginMiddleware`

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handles a request, or refuses it (421)."""
        if not self._is_addressed_to_us(scope):
            await send_problem(HttpProblem(421), scope, receive, send)
            return
        on_demand: SessionsOnDemand = scope["state"][SESSIONS_STATE]
        sessions = await on_demand.get()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if session := headers.get(_SESSION):
            receive = await _heed_cancellation(session.decode("latin-1"), headers, sessions.calls, receive)
        elif _VERSION not in headers:  # only the first request of such a client names no version
            send = _naming_session(send)
        await sessions.manager.handle_request(scope, receive, send)

    def _is_addressed_to_us(self, scope: "Scope") -> bool:
        if self._any_host or not is_loopback((scope.get("client") or ("", 0))[0]):
            return True
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        return all(is_loopback(host_name(host)) for host in hosts)


def _naming_session(send: "Send") -> "Send":
    """Sends the secret name with the reply."""

    async def send_with_name(message: "Message") -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            name = (_SESSION, secrets.token_urlsafe(24).encode())
            message = {**message, "headers": [*message.get("headers", ()), name]}
        await send(message)

    return send_with_name


async def _heed_cancellation(
    session: str, headers: dict[bytes, bytes], calls: CallsInProgress, receive: "Receive"
) -> "Receive":
    """Cancels the call that the request's body names, if it is a cancellation; a `receive` that gives the body again.

    A body that is larger than a cancellation is not looked at.
    """
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or int(length) > _MAX_CANCELLATION_BYTES:
        return receive
    message = await receive()
    if _CANCELLED.encode() in message.get("body", b""):
        try:
            body = json.loads(message["body"])
            if body["method"] == _CANCELLED:
                calls.cancel(session, body["params"]["requestId"])
        except (ValueError, TypeError, KeyError, RecursionError):
            pass  # the protocol's own handler says what is wrong with it
    read = False

    async def receive_again() -> "Message":
        nonlocal read
        if read:
            return await receive()
        read = True
        return message

    return receive_again
