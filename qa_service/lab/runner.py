"""The lab: each run in a child process of its own, forked ahead of need from a server that has torch imported.

A demo that raises, hangs, crashes or exhausts its memory gives a `Run` with that status; the next run is unaffected.
This side never imports a demo, and never torch. Why a forkserver: docs/decisions/0003-one-process-per-run.md.
"""

import multiprocessing
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from qa_service.errors import UnknownExperiment
from qa_service.experiments.spec import load_specs
from qa_service.lab.collector import RunCollector, read_message
from qa_service.lab.pool import ChildPool, SpawnFailed
from qa_service.lab.queue import FifoQueue
from qa_service.model import Experiment, Params, Row, Run
from qa_service.telemetry.timing import Timings

ONE_SHOT = ("torch", "qa_service.lab.worker")
SERVER = (
    *ONE_SHOT,
    "torch.optim",
    "torch._dynamo",
    "qa_service.lab.preload",
)  # an optimiser's step imports 800 modules
_LARGEST = 8 << 20  # bytes in one message
POLL_SECONDS = 0.02  # seconds between looks at the reader: is he still there?
_LOOK_UP_WAITING, MAX_POLL_SECONDS = 0.25, 2.0  # the same while he waits: the more are before him, the less often
_TRIES = 3  # a child that dies before it has begun may have been dying while it waited
IMPORT_TIMEOUT = 120.0  # seconds to import torch on a cold, busy machine; not part of the deadline


class Cancelled(Exception):
    """The reader has gone; the run was killed."""


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A run waits for a slot; `before` counts it and those that come before it."""

    before: int


class Runner(Protocol):
    """Something that runs experiments: rows as they are measured, the run at the end."""

    @property
    def slots(self) -> int:
        """Runs at once."""

    @property
    def waiting(self) -> int:
        """Runs that wait for a slot."""

    @property
    def ready(self) -> int:
        """Children that wait for work."""

    @property
    def stages(self) -> Timings:
        """Who watches how long things take."""

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Slug → experiment."""

    def experiment(self, slug: str) -> Experiment:
        """One experiment; raises `UnknownExperiment`."""

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """One run from beginning to end."""

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = ...
    ) -> Generator[Row | QueuePosition, None, Run]:
        """Its place in the line where it must wait, its rows as they are measured, the run at the end."""

    def close(self) -> None:
        """Ends the children that wait for work and the threads that keep them; the next run starts them again."""


def require_experiment(experiments: Mapping[str, Experiment], slug: str) -> Experiment:
    """One of them; raises `UnknownExperiment`."""
    if slug not in experiments:
        names = ", ".join(experiments)
        raise UnknownExperiment(
            zh=f"没有名为 {slug!r} 的实验。现有：{names}", en=f"there is no experiment {slug!r}. There are: {names}"
        )
    return experiments[slug]


class ProcessRunner:
    """Runs experiments in children with a deadline, a memory cap and one torch thread each."""

    def __init__(
        self,
        demos: Path,
        *,
        deadline: float = 5.0,
        memory: int = 2048,
        slots: int = 2,
        warm: tuple[str, ...] = ONE_SHOT,
        idle: int = 0,
    ) -> None:
        """`deadline` in seconds, `memory` in MiB, `slots` runs at once; `warm` are modules imported before forking,
        `idle` children wait for work.
        """
        self.demos = demos
        self.deadline = deadline
        self.memory = memory
        self.slots = slots
        self._line = FifoQueue(slots)
        self.stages = Timings()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(warm))
        self._children = ChildPool(context, idle)

    @cached_property
    def experiments(self) -> Mapping[str, Experiment]:
        """Slug → experiment, read from the files' text."""
        return load_specs(self.demos)

    def experiment(self, slug: str) -> Experiment:
        """One experiment; raises `UnknownExperiment`."""
        return require_experiment(self.experiments, slug)

    def warm_up(self) -> None:
        """Starts the server that children are forked from; returns at once while it imports torch."""
        forkserver.ensure_running()
        self._children.open()

    def close(self) -> None:
        """Ends the children that wait for work and the thread that forks them; the next run starts them again."""
        self._children.close()

    @property
    def waiting(self) -> int:
        """Runs that wait for a slot."""
        return len(self._line)

    @property
    def ready(self) -> int:
        """Children that wait for work."""
        return len(self._children)

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
    ) -> Generator[Row | QueuePosition, None, Run]:
        """Yields rows as the child measures them and returns the run. Raises `Stopped` soon after `stopped()`: within
        50 ms while it measures, two seconds while it waits for a slot.
        """
        with self._line.join() as ticket:
            before = 0
            with self.stages.time("queue"):
                while not ticket.granted.wait(
                    min(MAX_POLL_SECONDS, _LOOK_UP_WAITING * max(1, before / 4)) if before else POLL_SECONDS
                ):
                    if stopped():
                        raise Cancelled
                    if (place := ticket.place) not in (0, before):
                        yield QueuePosition(before := place)
            with self.stages.time("run"):
                return (yield from self._run_in_child(experiment, params, seed, stopped))

    def _run_in_child(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool]
    ) -> Generator[Row, None, Run]:
        tries = _TRIES
        while True:
            tries -= 1
            try:
                child = self._children.acquire()
            except SpawnFailed as error:
                return RunCollector(experiment=experiment).not_started(str(error))
            try:
                child.send_job(experiment, params, seed, self.deadline, self.memory)
                report = yield from self._listen(experiment, child.pipe, stopped)
                if report.began or not tries:
                    return report.ended(child.exit_code)
            finally:
                self._children.release(child)

    def _listen(
        self, experiment: Experiment, pipe: Connection, stopped: Callable[[], bool]
    ) -> Generator[Row, None, RunCollector]:
        report = RunCollector(experiment=experiment)
        born = time.monotonic()
        while True:
            if stopped():
                raise Cancelled
            if not pipe.poll(POLL_SECONDS):  # nothing is waiting to be read, so what is late is the child, not we
                now = time.monotonic()
                if report.started is None and now - born > IMPORT_TIMEOUT:
                    return report.timed_out(IMPORT_TIMEOUT)
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
