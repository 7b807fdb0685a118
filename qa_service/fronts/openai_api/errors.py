"""Errors in OpenAI's format, {"error": {"message", "type", "param", "code"}}, with OpenAI's HTTP statuses."""

from qa_service.schemas.problems import ProblemJson
from qa_service.schemas.values import Body

_CODES = {
    "question_too_long": "context_length_exceeded",
    "body_too_large": "context_length_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "not_found": "unknown_url",
}
"""Our code → OpenAI's, for codes on which clients act; the others are sent as they are."""
_TOO_LONG = "context_length_exceeded"


class ErrorDetail(Body):
    """The error itself."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(Body):
    """An error as the body of a response or as the last event of a stream."""

    error: ErrorDetail


def openai_error(problem: ProblemJson) -> tuple[int, ErrorBody]:
    """The status and body for a problem."""
    code = _CODES.get(problem.code, problem.code)
    if problem.code == "refused":
        code = "invalid_api_key" if problem.status == 401 else "permission_denied"
    status = 400 if problem.status == 422 else problem.status
    message = f"maximum length: {problem.detail}" if code == _TOO_LONG else problem.detail
    return status, ErrorBody(error=ErrorDetail(message=message, type=_type(status), param=problem.field, code=code))


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
