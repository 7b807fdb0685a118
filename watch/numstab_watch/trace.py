"""The trace: rows in memory, bounded, and the file that is replaced as a whole at each flush. See docs/trace.md."""

import gzip
import math
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

TRACE_SCHEMA = "numstab-trace/1"
STEP_COLUMNS = (
    "loss",
    "grad_norm",
    "lr",
    "loss_scale",
    "skipped",
    "seconds",
    "backwards",
    "carried",
    "optimizer",
    "input_max",
)
"""The columns of rows "s", one for each training step."""
PARAMETER_COLUMNS = ("grad_max", "grad_rms", "weight_rms", "update_rms", "unchanged", "zero", "tiny", "agree")
"""The columns of the matrices in rows "p", which have one line for each parameter of the header."""
MAX_EVENTS = 64
_MAX_BYTES = 10_000_000


def encode_json(value: Any) -> str:
    """JSON with 5 significant digits; inf and nan as the strings "Infinity", "-Infinity" and "NaN"."""
    if type(value) is float and -math.inf < value < math.inf:  # nearly all of them
        return f"{value:.5g}"
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
        case str():
            import json

            return json.dumps(value)
        case Mapping():
            return "{" + ",".join(f"{encode_json(str(key))}:{encode_json(each)}" for key, each in value.items()) + "}"
        case Iterable():
            return "[" + ",".join(encode_json(each) for each in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} cannot be written to a trace")


class BoundedRows:
    """Lines in the order of their steps: the first `head`, the last `tail`, of those between every 2^k-th.

    k grows so that at most `middle` of them are kept.
    """

    def __init__(self, head: int, middle: int, tail: int) -> None:
        self._limits = head, middle, tail
        self._head: list[tuple[int, str]] = []
        self._middle: list[tuple[int, str]] = []
        self._tail: deque[tuple[int, str]] = deque()
        self._stride = 1
        self._passed = 0
        self.size = 0
        """Characters of the lines that are kept."""

    def append(self, step: int, line: str) -> None:
        """Adds the line of a step, and drops others where there are too many."""
        head, _, tail = self._limits
        self.size += len(line)
        if len(self._head) < head:
            self._head.append((step, line))
            return
        self._tail.append((step, line))
        if len(self._tail) > tail:
            self._pass_on(self._tail.popleft())

    def thin(self) -> None:
        """Drops every second line between head and tail."""
        self._middle, dropped = self._middle[::2], self._middle[1::2]
        self.size -= sum(len(line) for _, line in dropped)
        self._stride *= 2

    def lines(self) -> list[tuple[int, str]]:
        """Each kept line with its step."""
        return [*self._head, *self._middle, *self._tail]

    def _pass_on(self, entry: tuple[int, str]) -> None:
        if self._passed % self._stride:
            self.size -= len(entry[1])
        else:
            self._middle.append(entry)
        self._passed += 1
        if len(self._middle) > self._limits[1]:
            self.thin()


class Trace:
    """Header, rows and events of one run. `header` may be completed at any time: it is written anew at each flush."""

    def __init__(self, path: str, header: dict[str, Any]) -> None:
        self.path = path
        self.header = header
        self._rows = {
            "s": BoundedRows(16, 112, 256),
            "p": BoundedRows(16, 48, 24),
            "m": BoundedRows(3, 24, 12),
            "x": BoundedRows(8, 24, 16),
        }
        self._events: list[tuple[int, str]] = []
        self.events_dropped = 0

    def add(self, kind: str, step: int, content: Any) -> None:
        """Adds a row: "s" of a step, "p" of parameters, "m" of modules, "x" of values that the loop logged."""
        self._rows[kind].append(step, f'{{"t":{step},"{kind}":{encode_json(content)}}}')
        if self._rows["p"].size + self._rows["m"].size > _MAX_BYTES:
            self._rows["p"].thin()
            self._rows["m"].thin()

    def event(self, step: int, content: Mapping[str, Any], *, last: bool = False) -> None:
        """Adds an event. The first 64 are kept; the `last` one, which says how the run ended, always."""
        if len(self._events) >= MAX_EVENTS and not last:
            self.events_dropped += 1
            return
        self._events.append((step, encode_json({"t": step, **content})))

    def write(self) -> None:
        """Replaces the file. A process that is killed meanwhile leaves the file of the flush before."""
        rows = [entry for each in self._rows.values() for entry in each.lines()] + self._events
        rows.sort(key=lambda entry: entry[0])
        text = "\n".join([encode_json(self.header), *(line for _, line in rows), ""])
        folder = os.path.dirname(os.path.abspath(self.path))
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".numstab-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                data = text.encode()
                file.write(gzip.compress(data, 1, mtime=0) if self.path.endswith(".gz") else data)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise
