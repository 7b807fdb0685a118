"""Timeouts for slow clients: while they send a request's body and while they read a response."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

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
                await _in_time(send(message), SEND_TIMEOUT_SECONDS)
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
            message = await _in_time(receive(), BODY_TIMEOUT_SECONDS)
        except TimeoutError:
            raise RequestTimeout(BODY_TIMEOUT_SECONDS) from None
        complete = not message.get("more_body", False)
        return message

    return receive_in_time


_Result = TypeVar("_Result")


class _in_time(Generic[_Result]):  # noqa: N801  # awaited as a function would be
    """Awaits an awaitable; raises TimeoutError if that takes longer than `seconds`.

    No timer is started for one that need not wait, as that would cost more than all else.
    """

    def __init__(self, awaitable: Awaitable[_Result], seconds: float) -> None:
        self._awaitable = awaitable
        self._seconds = seconds

    def __await__(self) -> Generator[Any, Any, _Result]:
        steps = self._awaitable.__await__()
        try:
            waited_for = next(steps)
        except StopIteration as end:
            return cast("_Result", end.value)
        return (yield from self._wait(_Begun(steps, waited_for)).__await__())

    async def _wait(self, begun: "_Begun[_Result]") -> _Result:
        async with asyncio.timeout(self._seconds):
            return await begun


class _Begun(Generic[_Result]):
    """An awaitable whose first step has been made, and what it waits for now."""

    def __init__(self, steps: Generator[Any, Any, _Result], waited_for: Any) -> None:
        self._steps = steps
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, _Result]:
        steps, waited_for = self._steps, self._waited_for
        try:
            while True:
                try:
                    sent = yield waited_for
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(sent)
        except StopIteration as end:
            return cast("_Result", end.value)
