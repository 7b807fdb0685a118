"""The outermost layer of the web application: every request has an id, a line in the log, a count and a span."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from qa_service.model.events import AnswerReady, Event
from qa_service.server.problems import SlowClient, problem_response
from qa_service.settings import Settings
from qa_service.telemetry.logging import log_event
from qa_service.telemetry.request_context import REQUEST_CONTEXT, RequestContext, request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_QUIET = ("/livez", "/readyz", "/metrics")  # asked every few seconds: their success is no news
Served = Callable[[str, str, int], None]
Span = Callable[["Scope"], AbstractContextManager[Any]]


class AccessLogMiddleware:
    """An ASGI middleware. `served` hears of each request's method, route and status; `span` spans it."""

    def __init__(self, app: "ASGIApp", *, served: Served, span: Span) -> None:
        self._app = app
        self._served = served
        self._span = span

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serves it; what nobody foresaw becomes a problem like any other, and its place in our code a line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), None)
        ticket = RequestContext(request_id(given))
        began, status, before = time.perf_counter(), 0, REQUEST_CONTEXT.set(ticket)

        async def sending(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", ticket.id.encode())]}
            await send(message)

        try:
            with self._span(scope) as span:
                try:
                    await self._app(scope, receive, sending)
                except SlowClient:
                    log_event("a reader was too slow", logging.WARNING, seconds=round(time.perf_counter() - began, 1))
                except Exception as error:
                    logging.getLogger("numstab").exception("unforeseen error")
                    if status:
                        raise
                    from starlette.requests import Request

                    await problem_response(Request(scope), error)(scope, receive, sending)
                if span is not None:
                    span(_route(scope, status), status, ticket.log_fields)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = _route(scope, status)
            self._served(method, route, status)
            if route not in _QUIET or status >= 500:
                milliseconds = round(1000 * (time.perf_counter() - began), 1)
                level = logging.ERROR if status >= 500 and status != 503 else logging.INFO
                # 0: the reader had gone before there was anything to send
                log_event(
                    "request", level, method=method, route=route, status=status, ms=milliseconds, **ticket.log_fields
                )
            REQUEST_CONTEXT.reset(before)


def log_answer(settings: Settings) -> Callable[[Event], None]:
    """An observer of a service: what a request's line says about its answer."""

    def answered(event: Event) -> None:
        ticket = REQUEST_CONTEXT.get()
        if ticket is not None and isinstance(event, AnswerReady):
            answer = event.answer
            ticket.log_fields.update(
                answer=answer.id, entry=answer.entry.id if answer.entry else None, answered=answer.status.value
            )
            if settings.log_questions:
                ticket.log_fields["question"] = answer.question

    return answered


def _route(scope: "Scope", status: int) -> str:
    """Its pattern, not its path: no id and no query. What the guard refuses has not come so far."""
    route = scope.get("route")
    return str(getattr(route, "path", None) or ("refused" if status in (401, 403, 429) else "unmatched"))
