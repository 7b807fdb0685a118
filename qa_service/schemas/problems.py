"""Errors, health and acknowledgements as JSON."""

from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from qa_service.schemas.values import Body, omitted_if_none


class ProblemJson(Body):
    """An error as problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str = Field(description="a stable identifier of the error, for programs")
    detail: str = Field(description="what was wrong and what is allowed, in the client's language")
    request_id: str | SkipJsonSchema[None] = omitted_if_none("the id of the request, as in the server's log")
    field: str | SkipJsonSchema[None] = omitted_if_none("the field of the request that is wrong")


class LiveJson(Body):
    """The process is alive."""

    live: Literal[True] = True


class ReadyJson(Body):
    """Whether questions can be answered, and which parts are ready."""

    ready: bool
    parts: dict[str, bool]


class OperatorReadyJson(ReadyJson):
    """Whether questions can be answered, and, for operators, why not."""

    why: dict[str, str] = Field(description="by part that is not ready, its error")
    reload: str | None = Field(description="why the last reload was refused; null if it was not")


class StoredJson(Body):
    """The acknowledgement that the data are stored."""

    stored: Literal[True] = True
