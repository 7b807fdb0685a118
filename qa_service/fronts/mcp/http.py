"""The protocol over streamable HTTP, without sessions: any worker answers any request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from qa_service.answering.service import Service
from qa_service.fronts.mcp.server import build_server
from qa_service.server.auth import host_name, is_loopback
from qa_service.server.problems import HttpProblem, send_problem
from qa_service.server.streaming import MAX_BODY_BYTES
from qa_service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STATE = "mcp_sessions"
"""The name in a request's state under which the endpoint finds the handler of this server's lifespan."""


@asynccontextmanager
async def open_sessions(service: Service) -> AsyncIterator[StreamableHTTPSessionManager]:
    """The handler of requests, while the block runs; then every call in progress is cancelled.

    Hosts and origins are checked before it (`OriginMiddleware`, `McpEndpoint`), by one set of rules for all of HTTP.
    """
    sessions = StreamableHTTPSessionManager(
        build_server(lambda: service), stateless=True, max_request_body_size=MAX_BODY_BYTES
    )
    async with sessions.run():
        yield sessions


class McpEndpoint:
    """The ASGI application at /mcp.

    Where the settings name no hosts, a client on this machine must address this machine: a page elsewhere can give its
    own host name the address 127.0.0.1, and its requests would then come from no other origin.
    """

    def __init__(self, settings: Settings) -> None:
        self._any_host = bool(settings.hosts)  # those that are named are checked by `OriginMiddleware`

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handles a request, or refuses it (421)."""
        if not self._is_addressed_to_us(scope):
            await send_problem(HttpProblem(421), scope, receive, send)
            return
        sessions: StreamableHTTPSessionManager = scope["state"][STATE]
        await sessions.handle_request(scope, receive, send)

    def _is_addressed_to_us(self, scope: "Scope") -> bool:
        if self._any_host or not is_loopback((scope.get("client") or ("", 0))[0]):
            return True
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        return all(is_loopback(host_name(host)) for host in hosts)
