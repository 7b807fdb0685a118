"""The session manager of the protocol over HTTP, started by the first request.

The package `mcp` takes 20 MiB of memory, which a server without such clients saves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_service.answering.service import Service
from qa_service.fronts.mcp.calls import CallsInProgress
from qa_service.server.streaming import MAX_BODY_BYTES

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager


@dataclass(frozen=True, slots=True)
class Sessions:
    """The session manager of the package `mcp`, and the calls in progress."""

    manager: "StreamableHTTPSessionManager"
    calls: CallsInProgress


class SessionsOnDemand:
    """The `Sessions` of a server, opened on first use, in a task that also closes them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._wanted, self._ending = asyncio.Event(), asyncio.Event()
        self._opened: asyncio.Future[Sessions] = asyncio.get_running_loop().create_future()

    async def get(self) -> Sessions:
        """The sessions; opens them if necessary. Raises the exception of opening them."""
        self._wanted.set()
        return await asyncio.shield(self._opened)

    async def serve(self) -> None:
        """Waits for the first `get`, opens the sessions and keeps them open until `end`."""
        await self._wanted.wait()
        if self._ending.is_set():
            return
        try:
            async with _open_sessions(self._service) as sessions:
                self._opened.set_result(sessions)
                await self._ending.wait()
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    def end(self) -> None:
        """Has `serve` close the sessions and return."""
        self._ending.set()
        self._wanted.set()


@asynccontextmanager
async def sessions_on_demand(service: Service) -> AsyncIterator[SessionsOnDemand]:
    """The sessions, while the block runs; at its end every call in progress is cancelled."""
    sessions = SessionsOnDemand(service)
    serving = asyncio.create_task(sessions.serve())
    try:
        yield sessions
    finally:
        sessions.end()
        await serving


@asynccontextmanager
async def _open_sessions(service: Service) -> AsyncIterator[Sessions]:
    """Starts the session manager. Hosts and origins are checked before (`OriginMiddleware`, `McpEndpoint`)."""
    calls = CallsInProgress()
    manager = await asyncio.to_thread(_build_manager, service, calls)  # half a second of imports
    async with manager.run():
        yield Sessions(manager, calls)


def _build_manager(service: Service, calls: CallsInProgress) -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from qa_service.fronts.mcp.server import build_server

    server = build_server(lambda: service, calls)
    return StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=MAX_BODY_BYTES)
