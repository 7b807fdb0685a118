"""Errors of the web application as problem+json (RFC 9457), in the client's language and without tracebacks."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from qa_service.errors import NumstabError, Overloaded, RateLimited, StoreUnavailable
from qa_service.model import Lang
from qa_service.parsing import detect_language
from qa_service.schemas.problems import ProblemJson
from qa_service.schemas.values import Body
from qa_service.telemetry.request_context import REQUEST_CONTEXT

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

ErrorFormat = Callable[[ProblemJson], tuple[int, Body]]
"""Converts a problem to the status and the body that another protocol has for it."""
HTTP_ERRORS = {
    403: ("refused", "别的网站的页面不能发这个请求。", "A page of another site may not send this request."),
    421: ("refused", "这个服务不在这个主机名下。", "This service does not go by this host name."),
    404: ("not_found", "没有这个地址。", "There is nothing at this address."),
    501: ("not_implemented", "只提供 JSON 格式。", "There is no other format than JSON."),
    405: ("method_not_allowed", "这个地址不接受这种方法", "this address does not take this method"),
}


class HttpProblem(NumstabError):
    """An error that has only an HTTP status: no such route or method, or a refusal by a middleware."""

    def __init__(self, status: int) -> None:
        code, zh, en = HTTP_ERRORS.get(
            status, ("http_error", f"请求被拒绝（{status}）", f"the request was refused ({status})")
        )
        super().__init__(zh=zh, en=en)
        self.code, self.status = code, status  # type: ignore[misc]  # per instance: one class for all statuses


def problem_response(http: Any, error: Exception, headers: Any = None) -> Any:
    """The error as a response, with `headers` and, where they apply, Retry-After and WWW-Authenticate."""
    from qa_service.server.responses import BodyResponse

    body = problem_json(error, request_language(http))
    again = (
        {"Retry-After": str(error.seconds)} if isinstance(error, Overloaded | StoreUnavailable | RateLimited) else {}
    )
    more = {"WWW-Authenticate": "Bearer"} if body.status == 401 else {}
    headers = {**(headers or {}), **again, **more}
    own_format = _error_format(http)
    if own_format is not None:
        status, own_body = own_format(body)
        return BodyResponse(own_body, status, headers)
    return BodyResponse(body, body.status, headers, media_type="application/problem+json")


def _error_format(http: Any) -> ErrorFormat | None:
    """The error format that a front has declared for this path; None for problem+json."""
    app = http.scope.get("app")
    formats: Mapping[str, ErrorFormat] = getattr(app.state, "error_formats", {}) if app is not None else {}
    return next((each for prefix, each in formats.items() if http.scope["path"].startswith(prefix)), None)


async def send_problem(error: Exception, scope: "Scope", receive: "Receive", send: "Send") -> None:
    """Answers a request with the error; for middlewares, whose exceptions the error handlers do not see."""
    from starlette.requests import Request

    await problem_response(Request(scope), error)(scope, receive, send)


def handle_errors(app: "FastAPI") -> None:
    """Installs handlers for our own errors and the framework's; `AccessLogMiddleware` handles unexpected ones."""
    from fastapi import Request, Response
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    async def numstab_error(http: Request, error: Exception) -> Any:
        return problem_response(http, error)

    async def http_exception(http: Request, error: Exception) -> Any:
        assert isinstance(error, HTTPException)
        refusal = HttpProblem(error.status_code)
        page = getattr(http.app.state, "not_found_page", None)
        if page is not None and error.status_code == 404 and "text/html" in http.headers.get("accept", ""):
            return page(http, refusal)
        return problem_response(http, refusal, error.headers)

    async def validation_error(http: Request, _error: Exception) -> Any:
        return problem_response(http, HttpProblem(422))

    async def disconnected(_http: Request, _error: Exception) -> Any:
        return Response(status_code=499)  # only for the log: the client has disconnected

    app.add_exception_handler(NumstabError, numstab_error)
    app.add_exception_handler(ClientDisconnected, disconnected)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(RequestValidationError, validation_error)


class ClientDisconnected(Exception):
    """The client disconnected before the response was complete."""


class SlowClient(Exception):
    """The client did not read a chunk of the response in time; its connection is closed."""


def request_language(http: Any) -> Lang:
    """The language of a response or error: the request's `lang`, its question's, Accept-Language, else English."""
    lang: Lang | None = getattr(http.state, "lang", None)
    if lang is None and (question := getattr(http.state, "question", None)) is not None:
        return detect_language(question)
    if lang is None and http.query_params.get("lang") in ("zh", "en"):
        lang = "zh" if http.query_params["lang"] == "zh" else "en"
    if lang is None:
        first = http.headers.get("accept-language", "").split(",")[0].strip().lower()
        lang = "zh" if first.startswith("zh") else "en"
    return lang


def problem_json(error: Exception, lang: Lang) -> ProblemJson:
    """An error as problem+json: a stable code for programs and a sentence in `lang`; no detail of unexpected errors."""
    if not isinstance(error, NumstabError):
        error = NumstabError(
            zh="服务出了内部错误，问题已记录。请再试一次。",
            en="Something broke on our side and was logged. Please try again.",
        )
    context = REQUEST_CONTEXT.get()
    return ProblemJson(
        type=f"/errors/{error.code}",
        title=error.code.replace("_", " "),
        status=error.status,
        code=error.code,
        detail=error[lang],
        request_id=context.id if context else None,
        field=error.field,
    )
