"""The protocol over streamable HTTP. It is stateless: any worker can answer any request."""

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

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


class _CancelledCall(BaseModel):
    model_config = ConfigDict(strict=True)

    requestId: int | str  # noqa: N815  # the protocol's name


class _Cancellation(BaseModel):
    method: Literal["notifications/cancelled"]
    params: _CancelledCall


class McpEndpoint:
    """The ASGI application at `path`.

    Unless the settings name hosts, a request from this machine must have a loopback name as its Host, against DNS
    rebinding: another site may resolve its name to 127.0.0.1, and its requests would then be same-origin.

    A client of the specification 2025-11-25 cancels a call by another request. So that it can only cancel its own
    calls, it gets a secret session id, which it sends with each request (`Mcp-Session-Id`). Nothing else depends on
    the id; a worker that does not execute the call ignores the cancellation.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        self.path = path  # the route in the access log and the metrics
        self._any_host = bool(settings.hosts)  # which `OriginMiddleware` checks

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handles a request, or refuses it with 421."""
        if not self._is_addressed_to_us(scope):
            await send_problem(HttpProblem(421), scope, receive, send)
            return
        on_demand: SessionsOnDemand = scope["state"][SESSIONS_STATE]
        sessions = await on_demand.get()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if session := headers.get(_SESSION):
            receive = await _apply_cancellation(session.decode("latin-1"), headers, sessions.calls, receive)
        elif _VERSION not in headers:  # as in the first request of such a client only
            send = _with_session_id(send)
        await sessions.manager.handle_request(scope, receive, send)

    def _is_addressed_to_us(self, scope: "Scope") -> bool:
        if self._any_host or not is_loopback((scope.get("client") or ("", 0))[0]):
            return True
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        return all(is_loopback(host_name(host)) for host in hosts)


def _with_session_id(send: "Send") -> "Send":
    """A `send` that adds a new session id to the headers of a successful reply."""

    async def send_with_id(message: "Message") -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            header = (_SESSION, secrets.token_urlsafe(24).encode())
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return send_with_id


async def _apply_cancellation(
    session: str, headers: dict[bytes, bytes], calls: CallsInProgress, receive: "Receive"
) -> "Receive":
    """If the request is a cancellation, cancels the call that it names; returns a `receive` that repeats the body.

    A body of more than `_MAX_CANCELLATION_BYTES` is not read.
    """
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or int(length) > _MAX_CANCELLATION_BYTES:
        return receive
    message = await receive()
    if _CANCELLED.encode() in message.get("body", b""):
        with suppress(ValidationError):  # another message, or none: the protocol's own handler reports the error
            calls.cancel(session, _Cancellation.model_validate_json(message["body"]).params.requestId)
    read = False

    async def receive_again() -> "Message":
        nonlocal read
        if read:
            return await receive()
        read = True
        return message

    return receive_again
