"""The log: one line an event on standard error, logfmt or JSON, with the id of the request that it belongs to.

No word of a question stands in it unless the operator says so, never a key, and never a password.
"""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from qa_service.settings import Settings, redact_url
from qa_service.telemetry.request_context import REQUEST_CONTEXT

_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f]+")
_KEY = re.compile(r"nst_[\w-]{8,}")
_OURS = "numstab"


def configure_logging(settings: Settings) -> None:
    """Sends our log and the server's to standard error in the form that the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(settings.log))
    for name in (_OURS, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [] if name == "uvicorn.error" else [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = name == "uvicorn.error"


def log_event(message: str, level: int = logging.INFO, **about: Any) -> None:
    """One line with fields of its own."""
    logging.getLogger(_OURS).log(level, message, extra={"about": about})


class LineFormatter(logging.Formatter):
    """time, level, what happened, the request's id, and the fields of the event."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in it."""
        ticket = REQUEST_CONTEXT.get()
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": _clean(record.getMessage()),
        }
        if ticket is not None:
            fields["request_id"] = ticket.id
        fields |= {name: _clean(value) for name, value in getattr(record, "about", {}).items() if value is not None}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])  # not the message: it may quote what a reader wrote
            fields["at"] = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-8:]))
        if self._json:
            return json.dumps(fields, ensure_ascii=False, default=str)
        return " ".join(f"{name}={_word(value)}" for name, value in fields.items())


def _clean(value: Any) -> Any:
    return _KEY.sub("nst_***", redact_url(value)) if isinstance(value, str) else value


def _word(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
