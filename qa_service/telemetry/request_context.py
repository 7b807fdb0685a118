"""What belongs to one request while it is served: its id, and what its line in the log will say."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request. `about` grows while it is served: whichever thread serves it has the same ticket."""

    id: str
    log_fields: dict[str, Any] = field(default_factory=dict)


REQUEST_CONTEXT: ContextVar[RequestContext | None] = ContextVar("ticket", default=None)
"""That of the request being served here; a thread that serves it runs in a copy of its context."""


def request_id(given: str | None) -> str:
    """The one a client gives, if it is short and plain, else a new one."""
    return given if given and _SANE.fullmatch(given) else secrets.token_hex(8)
