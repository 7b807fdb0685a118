"""Validates the messages of a child process and collects them into a `Run`. A child is not trusted."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from qa_service.lab.messages import ChildMessage
from qa_service.lab.worker import OLDEST_TORCH
from qa_service.machine import environment, machine_name
from qa_service.model import Experiment, Row, Run, RunStatus, Text

_MAX_ROWS = 5000  # of one run; a demo that yields more is invalid
_MAX_NOTE_CHARACTERS = 500


@dataclass(kw_only=True)
class RunCollector:
    """Builds a `Run` from the messages of one child: call `add` until `finished`, then `result`.

    `started_at` is when the child's message "started" came, in seconds of `time.monotonic()`.
    """

    experiment: Experiment
    started_at: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    finished: bool = False
    _result: Run | None = None

    @property
    def has_started(self) -> bool:
        """Whether the child has sent "started" or a message that ended the run."""
        return self.finished or self.started_at is not None

    def add(self, message: ChildMessage) -> Iterator[Row]:
        """Process one message; yields the rows in it. What comes after the end of the run is ignored."""
        if self.finished:
            return
        match message:
            case "started", dict(versions) if self.started_at is None:
                self.started_at = time.monotonic()
                self.versions = {str(name): str(version) for name, version in versions.items()}
            case "rows", list(rows) if len(self.rows) + len(rows) > _MAX_ROWS:
                self._finish_invalid(f"more than {_MAX_ROWS} rows")
            case "rows", list(rows) if _are_rows(rows):
                self.rows += rows
                yield from rows
            case "ran", {"metrics": measured, "seconds": float(seconds), "random": bool(used_rng)}:
                if problem := self._metrics_problem(measured) or _seconds_problem(seconds):
                    self._finish_invalid(problem)
                else:
                    self._finish(RunStatus.RAN, Text("", ""), measured, seconds, used_rng=used_rng)
            case "raised", str(exception):
                shown = exception[:_MAX_NOTE_CHARACTERS]
                self._finish(RunStatus.RAISED, Text(f"演示代码抛出了异常：{shown}", f"The demo raised {shown}"))
            case "out_of_memory", _:
                self._finish(*_OUT_OF_MEMORY)
            case ("unconfined" | "no_torch") as kind, reason:
                self._finish(RunStatus.CRASHED, _refusal(kind, reason))
            case "invalid", str(problem):
                self._finish_invalid(problem[:_MAX_NOTE_CHARACTERS])
            case _:
                self._finish_invalid("malformed rows")

    def add_all(self, messages: Iterable[ChildMessage]) -> list[Row]:
        """Process messages in turn; returns the rows in them."""
        return [row for message in messages for row in self.add(message)]

    def time_out(self, deadline: float) -> "RunCollector":
        """End the run because its deadline (seconds) has passed; returns self."""
        self._finish(
            RunStatus.TIMED_OUT,
            Text(f"运行超过 {deadline:g} 秒，已被中止。", f"The run took longer than {deadline:g} s and was stopped."),
        )
        return self

    def spawn_failed(self, reason: str, *, lasting: bool = False) -> Run:
        """The run, crashed because no child process could be spawned; if that is `lasting`, a setting is wrong."""
        self._finish(
            RunStatus.CRASHED,
            Text(
                f"没能启动实验进程（{reason}）。{'请改正这项设置。' if lasting else '请稍后再试。'}",
                f"No process could be started ({reason}). {'Correct it.' if lasting else 'Please try again.'}",
            ),
        )
        assert self._result is not None
        return self._result

    def result(self, exit_code: Callable[[], int | None]) -> Run:
        """The run. If the child ended without a report, it crashed, and the note gives its `exit_code()`."""
        if self._result is None:
            reason = _describe_exit(exit_code())
            self._finish(
                RunStatus.CRASHED, Text(f"实验进程意外终止（{reason}）。", f"The experiment's process died ({reason}).")
            )
        assert self._result is not None
        return self._result

    def _finish_invalid(self, problem: str) -> None:
        """End the run because the child sent something invalid."""
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
        used_rng: bool = True,
    ) -> None:
        self.finished = True
        if seconds is None:  # the child did not report it
            seconds = time.monotonic() - self.started_at if self.started_at is not None else 0.0
        self._result = Run(
            status=status,
            measured={name: measured[name] for name in self.experiment.metrics} if measured else {},
            rows=tuple(self.rows),
            note=note,
            seconds=seconds,
            versions=self.versions,
            machine=machine_name(),
            environment=environment(self.versions.get("torch", ""), self.versions.get("python", "")),
            used_rng=used_rng,
        )

    def _metrics_problem(self, measured: Any) -> str:
        """Why `measured` is not a mapping of exactly the declared metrics to numbers or None; "" if it is."""
        if not isinstance(measured, dict):
            return f"{type(measured).__name__} instead of metrics"
        if mismatched := set(measured) ^ set(self.experiment.metrics):
            return f"metrics do not match METRICS: {', '.join(sorted(mismatched))}"[:200]
        not_numbers = [name for name, value in measured.items() if not (value is None or _is_number(value))]
        return f"not a number: {', '.join(not_numbers)}"[:200] if not_numbers else ""


_OUT_OF_MEMORY = (
    RunStatus.OUT_OF_MEMORY,
    Text("实验用完了分配给它的内存。", "The experiment used up the memory it may have."),
)


def _refusal(kind: str, reason: Any) -> Text:
    """The note of a run that its process refused, as it cannot be confined or there is no torch that can run it."""
    match kind, reason:
        case "no_torch", [str(python), str(found)]:
            return _no_torch(python[:_MAX_NOTE_CHARACTERS], found[:40])
        case _:
            return _unconfined(str(reason)[:_MAX_NOTE_CHARACTERS])


def _unconfined(reason: str) -> Text:
    return Text(
        f"这台机器不能隔离实验（{reason}），所以没有运行。numstab doctor 会说明原因；"
        "设 NUMSTAB_SANDBOX=off 就不加隔离照样运行。",
        f"This machine cannot confine an experiment ({reason}), so it was not run. numstab doctor says why; "
        "NUMSTAB_SANDBOX=off runs it all the same.",
    )


def _no_torch(python: str, found: str) -> Text:
    least = ".".join(map(str, OLDEST_TORCH))
    zh = f"torch 是 {found}" if found else "没有 torch"
    return Text(
        f"{python} 里{zh}，所以没有运行。实验需要 torch {least} 或更新：用 NUMSTAB_PYTHON 指定装有它的 Python，"
        "或者 pip install 'numstab-core[run]'。",
        f"{python} has {f'torch {found}' if found else 'no torch'}, so nothing was run. Experiments need torch "
        f"{least} or newer: name a Python that has it in NUMSTAB_PYTHON, or pip install 'numstab-core[run]'.",
    )


def _is_number(value: Any) -> bool:
    """Whether it is a number that a double holds; inf and nan are."""
    if isinstance(value, int):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)


_PLAIN = {float, str, bool, type(None)}


def _are_rows(rows: list[Any]) -> bool:
    """Whether all are mappings to numbers that a double holds, texts, booleans or None.

    Without a loop over the values: JSON has few types, and only integers need a second look.
    """
    if set(map(type, rows)) - {dict}:
        return False
    values = list(chain.from_iterable(map(dict.values, rows)))
    kinds = set(map(type, values)) - _PLAIN
    return not kinds or (kinds == {int} and all(_is_number(value) for value in values if type(value) is int))


def _seconds_problem(seconds: float) -> str:
    """Why this is no duration; "" if it is."""
    return "" if 0 <= seconds < math.inf else f"{seconds} seconds"


def _describe_exit(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
