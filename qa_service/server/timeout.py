"""Timeouts for slow clients: while they send a request's body and while they read a response."""

import asyncio
from typing import TYPE_CHECKING

from qa_service.errors import RequestTimeout
from qa_service.server.problems import SlowClient, send_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SEND_TIMEOUT_SECONDS = 30.0
"""The longest time for sending one chunk of a response."""
BODY_TIMEOUT_SECONDS = 20.0
"""The longest time between two chunks of a request's body."""


class TimeoutMiddleware:
    """Answers 408 if the request's body stops arriving; raises `SlowClient` if the client does not read the response.

    The total time of a response is not limited.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on with a `receive` and a `send` that time out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        replying = False

        async def send_in_time(message: "Message") -> None:
            nonlocal replying
            replying = True
            try:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await send(message)
            except TimeoutError:
                raise SlowClient from None

        try:
            await self._app(scope, _receive_in_time(receive), send_in_time)
        except RequestTimeout as error:  # raised by a middleware or a mounted application, without error handlers
            if replying:
                raise
            await send_problem(error, scope, receive, send_in_time)


def _receive_in_time(receive: "Receive") -> "Receive":
    """A `receive` that raises `RequestTimeout` if the next chunk of the body does not arrive in time."""
    complete = False

    async def receive_in_time() -> "Message":
        nonlocal complete
        if complete:  # the only message left is the disconnect, which may come at any time
            return await receive()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout(BODY_TIMEOUT_SECONDS) from None
        complete = not message.get("more_body", False)
        return message

    return receive_in_time
