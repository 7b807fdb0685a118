"""The Model Context Protocol: `numstab mcp` on standard input and output, and /mcp over HTTP.

Both serve one set of tools, resources and prompts, to clients of the specifications 2026-07-28 and 2025-11-25.
"""

from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import APIRouter

MCP_PATH = "/mcp"
"""The path of the protocol over HTTP."""


def add_commands(parsers: Any) -> None:
    """Adds the command `mcp`."""
    parser = parsers.add_parser("mcp", help="serve the Model Context Protocol on standard input and output")
    parser.set_defaults(run_with_settings=_serve)


def router(service: Service, settings: Settings) -> "APIRouter":
    """The route of the protocol: POST only, because it is stateless and sends no messages of its own."""
    from fastapi import APIRouter
    from starlette.routing import Route

    from qa_service.fronts.mcp.http import McpEndpoint

    api = APIRouter()
    api.routes.append(
        Route(MCP_PATH, McpEndpoint(MCP_PATH, settings), methods=["POST"], name="mcp", include_in_schema=False)
    )
    return api


@asynccontextmanager
async def lifespan(service: Service, settings: Settings) -> AsyncIterator[Mapping[str, Any]]:
    """Serves the protocol while the application runs; the endpoint finds the sessions in the request's state."""
    from qa_service.fronts.mcp.http import SESSIONS_STATE
    from qa_service.fronts.mcp.sessions import sessions_on_demand

    async with sessions_on_demand(service) as sessions:
        yield {SESSIONS_STATE: sessions}


def _serve(arguments: Namespace, settings: Settings) -> int:
    from qa_service.fronts.mcp.stdio import serve_stdio

    return serve_stdio(settings)
