"""The context of a request while it is served: its id, and the fields of its line in the access log."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The id of one request and the fields of its line in the access log; shared by all threads that serve it."""

    id: str
    log_fields: dict[str, Any] = field(default_factory=dict)


REQUEST_CONTEXT: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""The context of the request being served; threads that serve it run in a copy of its `contextvars` context."""


def request_id(given: str | None) -> str:
    """The id that the client gives, if it is at most 64 letters, digits and `._:-`, else a new one."""
    return given if given and _VALID.fullmatch(given) else secrets.token_hex(8)
