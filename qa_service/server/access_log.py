"""The outermost middleware: gives every request an id, a line in the access log, a count and a trace span."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from qa_service.model.events import AnswerReady, Event
from qa_service.server.problems import SlowClient, send_problem
from qa_service.settings import Settings
from qa_service.telemetry.logging import log_event
from qa_service.telemetry.request_context import REQUEST_CONTEXT, RequestContext, request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_UNLOGGED = ("/livez", "/readyz", "/metrics")  # polled every few seconds: only their failures are logged
RequestListener = Callable[[str, str, int], None]
"""Called with the method, the route and the status of a request; status 0 if no response was started."""
SpanFactory = Callable[["Scope"], AbstractContextManager[Any]]
"""Opens the trace span of a request; see `Tracing.request`."""


class AccessLogMiddleware:
    """Logs each request, calls `served` when it has ended, and runs it within `span`."""

    def __init__(self, app: "ASGIApp", *, served: RequestListener, span: SpanFactory) -> None:
        self._app = app
        self._served = served
        self._span = span

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on. An unexpected error is logged with its stack frames and answered with a problem (500).

        If the response has already begun, the error is raised again, so that the server closes the connection.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), None)
        context = RequestContext(request_id(given))
        began, status, before = time.perf_counter(), 0, REQUEST_CONTEXT.set(context)

        async def send_with_id(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", context.id.encode())]}
            await send(message)

        try:
            with self._span(scope) as span:
                try:
                    await self._app(scope, receive, send_with_id)
                except SlowClient:
                    log_event("a reader was too slow", logging.WARNING, seconds=round(time.perf_counter() - began, 1))
                except Exception as error:
                    logging.getLogger("numstab").exception("unforeseen error")
                    if status:
                        raise
                    await send_problem(error, scope, receive, send_with_id)
                if span is not None:
                    span(_route(scope, status), status, context.log_fields)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = _route(scope, status)
            self._served(method, route, status)
            if route not in _UNLOGGED or status >= 500:
                milliseconds = round(1000 * (time.perf_counter() - began), 1)
                level = logging.ERROR if status >= 500 and status != 503 else logging.INFO
                log_event(
                    "request", level, method=method, route=route, status=status, ms=milliseconds, **context.log_fields
                )
            REQUEST_CONTEXT.reset(before)


def log_answer(settings: Settings) -> Callable[[Event], None]:
    """A listener for a service's events that adds an answer's id, entry and status to the log line of its request."""

    def answered(event: Event) -> None:
        context = REQUEST_CONTEXT.get()
        if context is not None and isinstance(event, AnswerReady):
            answer = event.answer
            context.log_fields.update(
                answer=answer.id, entry=answer.entry.id if answer.entry else None, answered=answer.status.value
            )
            if settings.log_questions:
                context.log_fields["question"] = answer.question

    return answered


def _route(scope: "Scope", status: int) -> str:
    """The route's pattern, such as /entries/{id}: unlike the path it has few values and no id.

    An endpoint that is an ASGI application is not named by the framework, but has its pattern in `path`. Without a
    route, it is "refused" for a request that a middleware has refused, else "unmatched".
    """
    found = (getattr(scope.get(each), "path", None) for each in ("route", "endpoint"))
    return str(next(filter(None, found), None) or ("refused" if status in (401, 403, 429) else "unmatched"))
