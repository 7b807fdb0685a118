"""The lab: each run in a child process of its own, forked from a warm server that has torch imported.

A demo that raises, hangs, crashes or exhausts its memory gives a `Run` with that status; the next run is unaffected.
This side never imports a demo, and never torch. Why a forkserver: docs/decisions/0003-one-process-per-run.md.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from functools import cached_property
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from qa_service.errors import UnknownExperiment
from qa_service.lab.report import Report, read_message
from qa_service.lab.signature import read_experiments
from qa_service.lab.worker import work
from qa_service.model import Experiment, Params, Row, Run

ONE_SHOT = ("torch", "qa_service.lab.worker")
SERVER = (*ONE_SHOT, "torch.optim", "torch._dynamo")  # the first optimiser step imports 800 modules
_LARGEST = 8 << 20  # bytes in one message
_LOOK_UP = 0.02  # seconds between looks at the reader: is he still there?
_COLD = 120.0  # seconds to import torch on a cold, busy machine; not part of the deadline


class Stopped(Exception):
    """The reader has gone; the run was killed."""


class Runs(Protocol):
    """Something that runs experiments: rows as they are measured, the run at the end."""

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = ...
    ) -> Generator[Row, None, Run]: ...


class Lab:
    """Runs experiments in children with a deadline, a memory cap and one torch thread each."""

    def __init__(
        self,
        demos: Path,
        *,
        deadline: float = 5.0,
        memory: int = 2048,
        slots: int = 2,
        warm: tuple[str, ...] = ONE_SHOT,
    ) -> None:
        """`deadline` in seconds, `memory` in MiB, `slots` runs at once; `warm` are modules imported before forking."""
        self.demos = demos
        self.deadline = deadline
        self.memory = memory
        self.slots = slots
        self._free = threading.BoundedSemaphore(slots)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(warm))

    @cached_property
    def experiments(self) -> Mapping[str, Experiment]:
        """Slug → experiment, read from the files' text."""
        return read_experiments(self.demos)

    def experiment(self, slug: str) -> Experiment:
        """One experiment; raises `UnknownExperiment`."""
        if slug not in self.experiments:
            names = ", ".join(self.experiments)
            raise UnknownExperiment(
                zh=f"没有名为 {slug!r} 的实验。现有：{names}", en=f"there is no experiment {slug!r}. There are: {names}"
            )
        return self.experiments[slug]

    def warm_up(self) -> None:
        """Starts the server that children are forked from; returns at once while it imports torch."""
        forkserver.ensure_running()

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """One run from beginning to end."""
        rows = self.stream(experiment, params, seed)
        while True:
            try:
                next(rows)
            except StopIteration as finished:
                run: Run = finished.value
                return run

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Row, None, Run]:
        """Yields rows as the child measures them and returns the run. Raises `Stopped` within 50 ms of `stopped()`."""
        while not self._free.acquire(timeout=_LOOK_UP):
            if stopped():
                raise Stopped
        try:
            here, there = self._context.Pipe(duplex=False)
            child = self._context.Process(
                target=work,
                args=(there, experiment.path, dict(params), seed, self.deadline, self.memory),
                daemon=True,
            )
            child.start()
            there.close()
            try:
                return (yield from self._listen(experiment, here, stopped)).ended(_exit(child))
            finally:
                _kill(child)
                here.close()
        finally:
            self._free.release()

    def _listen(
        self, experiment: Experiment, pipe: Connection, stopped: Callable[[], bool]
    ) -> Generator[Row, None, Report]:
        report = Report(experiment=experiment)
        born = time.monotonic()
        while True:
            if stopped():
                raise Stopped
            if not pipe.poll(_LOOK_UP):  # nothing is waiting to be read, so what is late is the child, not we
                now = time.monotonic()
                if report.started is None and now - born > _COLD:
                    return report.timed_out(_COLD)
                if report.started is not None and now - report.started > self.deadline:
                    return report.timed_out(self.deadline)
                continue
            try:
                message = read_message(pipe.recv_bytes(_LARGEST))
            except EOFError:  # the child has gone
                return report
            except OSError as error:
                if error.errno is not None:  # so has the pipe
                    return report
                message = read_message(b"")  # more than a child may say, or no length at all
            yield from report.add(message)
            if report.finished:
                return report


def _exit(child: multiprocessing.process.BaseProcess) -> int | None:
    """The child's exit code, negative for a signal, once it has had a moment to end."""
    child.join(0.5)
    return child.exitcode


def _kill(child: multiprocessing.process.BaseProcess) -> None:
    if child.pid is None:
        return
    for kill in (os.killpg, os.kill):  # the group first: a demo may have forked
        with suppress(ProcessLookupError, PermissionError):
            kill(child.pid, signal.SIGKILL)
    child.join(1.0)
