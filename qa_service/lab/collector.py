"""What a child said, believed only where it makes sense, and what that says about the run."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qa_service.model import Experiment, Row, Run, RunStatus, Text

_MOST_ROWS = 5000
Message = tuple[str, Any]


def read_message(data: bytes) -> Message:
    """`[kind, content]` from the wire, or the kind "nonsense" with what was wrong."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return "nonsense", "it sent bytes that are no JSON"
    if isinstance(message, list) and len(message) == 2 and isinstance(message[0], str):
        return message[0], message[1]
    return "nonsense", "it sent something that is no message"


@dataclass(kw_only=True)
class RunCollector:
    """Collects a child's messages. Filled by `add` until `finished`; `ended` makes the run of it."""

    experiment: Experiment
    started: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    finished: bool = False
    _run: Run | None = None

    @property
    def began(self) -> bool:
        """Whether the child said anything."""
        return self.finished or self.started is not None

    def add(self, message: Message) -> Iterator[Row]:
        """Takes one message in; yields the rows in it."""
        match message:
            case "started", dict(versions) if self.started is None:
                self.started = time.monotonic()
                self.versions = {str(name): str(version) for name, version in versions.items()}
            case "rows", list(rows) if len(self.rows) + len(rows) > _MOST_ROWS:
                self._finish_invalid(f"more than {_MOST_ROWS} rows")
            case "rows", list(rows) if all(_is_row(row) for row in rows):
                self.rows += rows
                yield from rows
            case "ran", {"metrics": measured, "seconds": float(seconds), "random": bool(random)}:
                if problem := self._metrics_problem(measured):
                    self._finish_invalid(problem)
                else:
                    self._finish(RunStatus.RAN, Text("", ""), measured, seconds, random=random)
            case "raised", str(what):
                self._finish(RunStatus.RAISED, Text(f"演示代码抛出了异常：{what}", f"The demo raised {what}"))
            case "out_of_memory", _:
                self._finish(*_OUT_OF_MEMORY)
            case _, content:
                self._finish_invalid(content if message[0] == "nonsense" else "it sent rows that are none")

    def timed_out(self, after: float) -> "RunCollector":
        """The deadline (seconds) has passed."""
        self._finish(
            RunStatus.TIMED_OUT,
            Text(f"运行超过 {after:g} 秒，已被中止。", f"The run took longer than {after:g} s and was stopped."),
        )
        return self

    def not_started(self, why: str) -> Run:
        """The run that could not begin."""
        self._finish(
            RunStatus.CRASHED,
            Text(f"没能启动实验进程（{why}）。请稍后再试。", f"No process could be started ({why}). Please try again."),
        )
        assert self._run is not None
        return self._run

    def ended(self, exit_code: Callable[[], int | None]) -> Run:
        """The run; where the child ended without a word, its exit code says how."""
        if self._run is None:
            how = _exit_in_words(exit_code())
            self._finish(
                RunStatus.CRASHED, Text(f"实验进程意外终止（{how}）。", f"The experiment's process died ({how}).")
            )
        assert self._run is not None
        return self._run

    def _finish_invalid(self, problem: str) -> None:
        self._finish(
            RunStatus.RAISED,
            Text(
                f"演示代码返回的不是有效的测量结果（{problem}）。",
                f"The demo returned no valid measurements ({problem}).",
            ),
        )

    def _finish(
        self,
        status: RunStatus,
        note: Text,
        measured: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        *,
        random: bool = True,
    ) -> None:
        self.finished = True
        if seconds is None:  # it did not come to say so itself
            seconds = time.monotonic() - self.started if self.started is not None else 0.0
        self._run = Run(
            status=status,
            measured={name: measured[name] for name in self.experiment.metrics} if measured else {},
            rows=tuple(self.rows),
            note=note,
            seconds=seconds,
            versions=self.versions,
            used_rng=random,
        )

    def _metrics_problem(self, measured: Any) -> str:
        if not isinstance(measured, dict):
            return f"{type(measured).__name__} instead of metrics"
        if wrong := set(measured) ^ set(self.experiment.metrics):
            return f"metrics do not match METRICS: {', '.join(sorted(wrong))}"[:200]
        words = [name for name, value in measured.items() if not (value is None or _is_number(value))]
        return f"not a number: {', '.join(words)}"[:200] if words else ""


_OUT_OF_MEMORY = (
    RunStatus.OUT_OF_MEMORY,
    Text("实验用完了分配给它的内存。", "The experiment used up the memory it may have."),
)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(
        value is None or isinstance(value, str | int | float) for value in row.values()
    )


def _exit_in_words(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
