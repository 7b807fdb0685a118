"""The messages of a child process: lines of JSON on its pipe. A child is not trusted, so what it sends is bounded."""

import json
import os
import select
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

MAX_RUN_BYTES = 2 << 20
"""The largest number of bytes that one run may send; the shipped experiments send at most 60 kB."""
_CHUNK_BYTES = 1 << 16
_SURROGATE_ESCAPES = (b"\\ud", b"\\uD")
ChildMessage = tuple[str, Any]
"""A message of a child process: (kind, content)."""


class MessageReader:
    """Reads messages as they come. No call waits for more than a child has sent, whatever it has announced."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._readable = read_poller(pipe)
        self._incomplete = bytearray()
        self._received = 0

    def read(self, timeout: float) -> list[ChildMessage] | None:
        """The messages that came, after at most `timeout` seconds; None once the child has closed the pipe.

        A child that has sent more than `MAX_RUN_BYTES` gives a message of kind "invalid".
        """
        data = b""
        with suppress(OSError):  # the pipe is broken
            if not self._readable.poll(timeout * 1000):
                return []
            data = os.read(self._pipe.fileno(), _CHUNK_BYTES)
        if not data:
            return None
        self._received += len(data)
        if self._received > MAX_RUN_BYTES:
            return [("invalid", f"more than {MAX_RUN_BYTES >> 20} MiB of rows")]
        self._incomplete += data
        if b"\n" not in data:
            return []
        *lines, rest = self._incomplete.split(b"\n")
        self._incomplete = rest
        return [parse_message(line) for line in lines]

    def read_rest(self) -> list[ChildMessage]:
        """All messages that have been sent by now, without waiting."""
        messages: list[ChildMessage] = []
        while self._received <= MAX_RUN_BYTES and self._has_data():
            if (some := self.read(0)) is None:
                break
            messages += some
        return messages

    def _has_data(self) -> bool:
        with suppress(OSError):
            return bool(self._readable.poll(0))
        return False


def read_poller(pipe: Connection) -> select.poll:
    """An object whose `poll(milliseconds)` waits until the pipe can be read; `Connection.poll` makes one each time."""
    found = select.poll()
    found.register(pipe.fileno(), select.POLLIN)
    return found


def parse_message(data: bytes | bytearray) -> ChildMessage:
    """The JSON array [kind, content] as a message; one of kind "invalid" with the reason if it is malformed.

    Half a surrogate pair, which no text may contain and no reply can carry, becomes a question mark.
    """
    try:
        message = json.loads(data)
        if any(escape in data for escape in _SURROGATE_ESCAPES):
            message = json.loads(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return "invalid", "it sent bytes that are no JSON"
    if isinstance(message, list) and len(message) == 2 and isinstance(message[0], str):
        return message[0], message[1]
    return "invalid", "it sent something that is no message"
