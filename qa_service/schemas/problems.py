"""Errors and the server's own state as JSON."""

from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from qa_service.schemas.values import Body, omitted


class ProblemJson(Body):
    """An error as problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str = Field(description="stable, for programs")
    detail: str = Field(description="what was wrong and what is allowed, in the reader's language")
    request_id: str | SkipJsonSchema[None] = omitted("stands in the log as well")
    field: str | SkipJsonSchema[None] = omitted("the field of the request that is wrong")


class LiveJson(Body):
    """The process answers."""

    live: Literal[True] = True


class ReadyJson(Body):
    """Whether questions can be answered, and which part is there."""

    ready: bool
    parts: dict[str, bool]


class OperatorReadyJson(ReadyJson):
    """The same for an operator, who may also know why not."""

    why: dict[str, str] = Field(description="of each part that is not there, what is wrong with it")
    reload: str | None = Field(description="what is wrong with the knowledge that was last read again")


class StoredJson(Body):
    """It is on disk."""

    stored: Literal[True] = True
