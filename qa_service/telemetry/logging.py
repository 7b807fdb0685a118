"""The log: one line per event on standard error, as logfmt or JSON, with the id of the request that it belongs to.

It never contains an API key or a password, and questions only if the operator allows it.
"""

import json
import logging
import re
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from qa_service.settings import Settings, redact_url
from qa_service.telemetry.request_context import REQUEST_CONTEXT

_UNQUOTED = re.compile(r"[^\s\"=\\\x00-\x1f]+")
_API_KEY = re.compile(r"nst_[\w-]{8,}")
_LOGGER = "numstab"
_NUMSTAB = logging.getLogger(_LOGGER)
_REPEAT_SECONDS = 10.0
"""The least time between two lines of asyncio with the same message, such as one per connection not accepted."""


def configure_logging(settings: Settings) -> None:
    """Sends the logs of numstab, uvicorn and asyncio to standard error, in the format that the settings name."""
    # of a record no line has these: they take as long as all else
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(settings.log))
    for name in (_LOGGER, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [] if name == "uvicorn.error" else [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = name == "uvicorn.error"
    logger = logging.getLogger("asyncio")
    logger.handlers[:] = [handler]
    logger.filters[:] = [RepeatFilter()]
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def log_event(message: str, level: int = logging.INFO, **about: Any) -> None:
    """Logs one line; `about` are its fields after time, level, message and request id, without those that are None."""
    if _NUMSTAB.isEnabledFor(level):
        record = logging.LogRecord(_LOGGER, level, __file__, 0, message, None, None)  # nobody asks for the caller
        record.about = about
        _NUMSTAB.handle(record)


class RepeatFilter(logging.Filter):
    """Passes each message at most once in ten seconds; the next line says how many were left out (`left_out`)."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}  # message → time of its last line, number left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged. Messages are compared by their first line, as later ones quote addresses."""
        message = record.getMessage().partition("\n")[0]
        now = time.monotonic()
        before, left_out = self._seen.get(message, (float("-inf"), 0))
        if now - before < _REPEAT_SECONDS:
            self._seen[message] = (before, left_out + 1)
            return False
        self._seen = {each: seen for each, seen in self._seen.items() if seen[1] or now - seen[0] < _REPEAT_SECONDS}
        self._seen[message] = (now, 0)
        record.about = {"left_out": left_out or None}
        return True


class LineFormatter(logging.Formatter):
    """Formats a record as time, level, message, request id, and the fields of the event; "json" or else logfmt."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        """One line: line breaks within values are escaped."""
        context = REQUEST_CONTEXT.get()
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": _redact(record.getMessage()),
        }
        if context is not None:
            fields["request_id"] = context.id
        fields |= {name: _redact(value) for name, value in getattr(record, "about", {}).items() if value is not None}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])  # not the message: it may quote a request
            fields["at"] = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-8:]))
        if self._json:
            return json.dumps(fields, ensure_ascii=False, default=str)
        return " ".join([f"{name}={_logfmt_value(value)}" for name, value in fields.items()])


def _redact(value: Any) -> Any:
    """A value without passwords and API keys, if it is text."""
    if not isinstance(value, str):
        return value
    if "=" in value or ":" in value:  # most values have neither, and need no search
        value = redact_url(value)
    return _API_KEY.sub("nst_***", value) if "nst_" in value else value


def _logfmt_value(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _UNQUOTED.fullmatch(text) else json.dumps(text, ensure_ascii=False)
