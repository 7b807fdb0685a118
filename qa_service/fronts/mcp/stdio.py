"""The protocol on standard input and output for one client, which starts this process and ends it by closing its input.

Only the protocol is written to standard output; the log goes to standard error.
"""

import os
import signal
import threading
from concurrent.futures import Future
from types import FrameType

import anyio
from mcp.server.stdio import stdio_server

from qa_service.answering.composition import build
from qa_service.answering.service import Service
from qa_service.fronts.mcp.server import build_server
from qa_service.lab.runner import SERVER_PRELOAD
from qa_service.settings import Settings
from qa_service.telemetry import logging as logs


def serve_stdio(settings: Settings) -> int:
    """Serves until the client closes standard input; returns the exit status.

    The service is built, and its classifier loaded or trained, in a thread, so that the client gets replies at once.
    """
    logs.configure_logging(settings)
    built: Future[Service] = Future()

    def prepare() -> None:
        try:
            service = build(settings, warm=SERVER_PRELOAD, many_clients=True)
        except Exception as error:  # `built.result` raises it in every call
            built.set_exception(error)
            logs.log_event("service not built", error=str(error))
            return
        built.set_result(service)
        service.knowledge.matcher.match("nan")

    def stop() -> None:
        """Ends the child processes."""
        if built.done() and built.exception() is None:
            built.result().runner.close()

    def stop_at_once(number: int, _frame: FrameType | None) -> None:
        stop()
        os._exit(128 + number)  # a thread that waits for input would keep the process alive

    async def speak() -> None:
        async with stdio_server() as (received, sent):
            # not earlier, as child processes must not inherit the descriptors of the protocol
            threading.Thread(target=prepare, daemon=True, name="warm-up").start()
            server = build_server(built.result)
            await server.run(received, sent, server.create_initialization_options())

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop_at_once)
    try:
        anyio.run(speak)
    finally:
        stop()
    return 0
