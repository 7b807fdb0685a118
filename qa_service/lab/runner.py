"""Runs each experiment in a child process of its own, forked ahead of need from a server that has torch imported.

A demo that raises, hangs, crashes or exhausts its memory gives a `Run` with that status; the next run is unaffected.
The parent never imports a demo, nor torch. Why a fork server: docs/decisions/0003-one-process-per-run.md.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from qa_service.errors import Overloaded
from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.clients import clients_of_run
from qa_service.lab.collector import RunCollector
from qa_service.lab.interpreter import shared_interpreter
from qa_service.lab.kernel import make_nondumpable
from qa_service.lab.messages import MessageReader
from qa_service.lab.pool import Child, ChildPool, SpawnFailed
from qa_service.lab.queue import FairQueue, QueueSlot
from qa_service.lab.worker import encode_again, encode_job
from qa_service.model import Experiment, Params, Row, Run, RunStatus
from qa_service.telemetry.timing import Timings

CLI_PRELOAD = ("torch", "qa_service.lab.worker")
"""Modules that the fork server imports for a command, which forks few children and must start fast."""
SERVER_PRELOAD = (*CLI_PRELOAD, "qa_service.lab.preload")
"""Modules that the fork server of a service imports; the last one calls, once for all children, what experiments
call.
"""
POLL_SECONDS = 0.02  # between looks at whether a run has been cancelled
_QUEUE_POLL_SECONDS, MAX_POLL_SECONDS = 0.25, 2.0  # the same in the queue, least and most: it grows with the position
_MAX_ATTEMPTS = 6  # more than there are idle children, which may all be dying, as after the death of their fork server
_SECONDS_PER_RUN = 0.2  # a rough mean, for the Retry-After of a refused request
IMPORT_TIMEOUT = 120.0  # seconds to import torch on a cold, busy machine; not part of the deadline


T = TypeVar("T")
Yielded = TypeVar("Yielded")


class Cancelled(Exception):
    """The run was cancelled, usually because its client disconnected; the child has been killed."""


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The run waits for a slot at this position in the queue, 1 for the next."""

    position: int


class Runner(Protocol):
    """Runs experiments. Implemented by `ProcessRunner`, `RayRunner` and, with a cache around one, `SharedRunner`."""

    @property
    def slots(self) -> int:
        """How many runs may execute at once."""

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot."""

    def waiting_of(self, client: str) -> int:
        """How many runs of this client wait for a slot."""

    @property
    def ready(self) -> int:
        """How many idle children wait for a job."""

    @property
    def timings(self) -> Timings:
        """Reports how long the stages of a run take."""

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """Execute the experiment to its end. The same seed gives the same numbers to the bit."""

    def run_seeds(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> list[Run]:
        """Execute the experiment with each seed in turn; only with the first if that draws no random number."""

    def run_settings(
        self, experiment: Experiment, settings: Iterable[Params], seeds: Sequence[int]
    ) -> Generator[list[Run], None, None]:
        """As `run_seeds` with each of several sets of parameters in turn; yields the runs of each."""

    def stream(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled = ...
    ) -> Generator[Row | QueuePosition, None, Run]:
        """Execute the experiment: yields queue positions while it waits, rows as they are measured; returns the run.

        Raises `Cancelled` soon after `is_cancelled()` becomes true.
        """

    def finished(self, experiment: Experiment, params: Params, seed: int = 0) -> Run | None:
        """The run as it was measured earlier, if it is kept; executes nothing."""

    def close(self) -> None:
        """Ends the children that wait for work and the threads that keep them; the next run starts them again."""


def overloaded_error(waiting: int, slots: int) -> Overloaded:
    """The refusal of a run while `waiting` others wait, with the seconds after which to try again."""
    return Overloaded(waiting, seconds=max(1, round(waiting * _SECONDS_PER_RUN / slots)))


class GeneratorWithResult(Generic[Yielded, T]):
    """Iterates over a generator, such as a `Runner.stream`; afterwards `result` holds the value that it returned."""

    result: T

    def __init__(self, generator: Generator[Yielded, None, T]) -> None:
        self._generator = generator

    def __iter__(self) -> Iterator[Yielded]:
        self.result = yield from self._generator


def run_to_end(stream: Generator[Any, None, T]) -> T:
    """Exhausts a generator, such as a `Runner.stream`, and returns its return value; the yielded values are dropped."""
    events = GeneratorWithResult(stream)
    for _ in events:
        pass
    return events.result


def wait_for_slot(slot: QueueSlot, is_cancelled: IsCancelled) -> Generator[QueuePosition, None, None]:
    """Waits until the slot is granted; yields each new position in the queue. Raises `Cancelled`."""
    position = 0
    while not slot.granted.wait(
        min(MAX_POLL_SECONDS, _QUEUE_POLL_SECONDS * max(1, position / 4)) if position else POLL_SECONDS
    ):
        if is_cancelled():
            raise Cancelled
        if (current := slot.position) not in (0, position):
            yield QueuePosition(position := current)


class RunnerWrapper:
    """Base of runners that share or keep the runs of another one, and leave to it all else that a `Runner` does."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def slots(self) -> int:
        """How many runs execute at once."""
        return self._runner.slots

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot."""
        return self._runner.waiting

    def waiting_of(self, client: str) -> int:
        """How many runs of this client wait for a slot."""
        return self._runner.waiting_of(client)

    @property
    def ready(self) -> int:
        """How many idle children wait for a job."""
        return self._runner.ready

    @property
    def timings(self) -> Timings:
        """Reports how long the stages of a run take."""
        return self._runner.timings

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """Execute the experiment to its end; the run is neither shared nor taken from those that are kept."""
        return self._runner.run(experiment, params, seed)

    def run_seeds(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> list[Run]:
        """As `Runner.run_seeds`; the runs are neither shared nor taken from those that are kept."""
        return self._runner.run_seeds(experiment, params, seeds)

    def run_settings(
        self, experiment: Experiment, settings: Iterable[Params], seeds: Sequence[int]
    ) -> Generator[list[Run], None, None]:
        """As `Runner.run_settings`; the runs are neither shared nor taken from those that are kept."""
        return self._runner.run_settings(experiment, settings, seeds)


class _ChildInUse:
    """The child in which one run after another executes, and the seconds that these took."""

    def __init__(self, pool: ChildPool) -> None:
        self._pool = pool
        self.child: Child | None = None
        self.seconds = 0.0

    def get(self) -> Child:
        """The child, a new one if there is none. Raises `SpawnFailed`."""
        if self.child is None:
            self.child = self._pool.acquire()
        return self.child

    def close(self) -> None:
        """Release the child; the next run gets another one."""
        if self.child is not None:
            self._pool.release(self.child)
        self.child, self.seconds = None, 0.0


class ProcessRunner:
    """A `Runner` that executes each run in a child process with a deadline, a memory limit and one torch thread."""

    def __init__(
        self,
        *,
        deadline: float = 5.0,
        memory: int = 2048,
        slots: int = 2,
        preload: tuple[str, ...] = CLI_PRELOAD,
        idle: int = 0,
        confined: bool = True,
        python: str = "",
    ) -> None:
        """`deadline` in seconds, `memory` in MiB of one run; at most `slots` runs at once.

        Unless `confined`, demos are limited in time and memory only, and may do whatever this process may.

        `preload` are modules that the fork server imports, `idle` is how many children are kept forked ahead of need,
        `python` is the interpreter of the children, if not this one.
        """
        self.deadline = deadline
        self.memory = memory
        self.slots = slots
        self.confined = confined
        self._queue = FairQueue(slots)
        self.timings = Timings()
        self._spawner = shared_interpreter(python, preload)
        self._children = ChildPool(self._spawner, idle)

    def warm_up(self) -> None:
        """Start the fork server and the idle children; returns at once while torch is imported.

        From now on no other process of this user can read the memory of this one.
        """
        if self.confined:
            with suppress(OSError):
                make_nondumpable()
        self._spawner.start()
        self._children.open()

    def with_limits(self, deadline: float, memory: int) -> Self:
        """A runner with other limits (seconds, MiB) of a run, and the same slots, queue and children."""
        limited = copy(self)
        limited.deadline, limited.memory = deadline, memory
        return limited

    def finished(self, experiment: Experiment, params: Params, seed: int = 0) -> Run | None:  # noqa: ARG002
        """Always None, as this runner caches no runs."""
        return None

    def close(self) -> None:
        """Ends the children that wait for work and the thread that forks them; the next run starts them again."""
        self._children.close()

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot."""
        return len(self._queue)

    def waiting_of(self, client: str) -> int:
        """How many runs of this client wait for a slot."""
        return self._queue.waiting_of(client)

    @property
    def ready(self) -> int:
        """How many idle children wait for a job."""
        return len(self._children)

    @property
    def server_pid(self) -> int:
        """The process id of the fork server; 0 while none runs, or where it is another process's."""
        return self._spawner.server_pid

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """Execute the experiment to its end. The same seed gives the same numbers to the bit."""
        return run_to_end(self.stream(experiment, params, seed))

    def run_seeds(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> list[Run]:
        """As `Runner.run_seeds`, in few children: forking one takes longer than most experiments."""
        with closing(self.run_settings(experiment, [params], seeds)) as results:
            return next(results)

    def run_settings(
        self, experiment: Experiment, settings: Iterable[Params], seeds: Sequence[int]
    ) -> Generator[list[Run], None, None]:
        """As `Runner.run_settings`, in few children; holds one slot until it is closed."""
        with self._queue.join(clients_of_run()) as slot, closing(_ChildInUse(self._children)) as in_use:
            slot.granted.wait()
            for params in settings:
                runs: list[Run] = []
                while len(runs) < len(seeds) and not (runs and not runs[0].used_rng):
                    seed = seeds[len(runs)]
                    run = self._run_in_used_child(experiment, params, seed, in_use)
                    runs.append(run or run_to_end(self._run_in_child(experiment, params, seed, lambda: False)))
                yield runs

    def _run_in_used_child(
        self, experiment: Experiment, params: Params, seed: int, in_use: "_ChildInUse"
    ) -> Run | None:
        """The run in the child that the last one was in, or in a new one if that has had half of its CPU time.

        None if no child could be started, or if it died before the run had started.
        """
        if in_use.seconds >= self.deadline / 2:
            in_use.close()
        is_new = in_use.child is None
        try:
            child = in_use.get()
        except SpawnFailed:
            return None
        child.send_job(self._job(experiment, params, seed) if is_new else encode_again(params, seed))
        collector = run_to_end(self._collect(experiment, child, lambda: False))
        run = collector.result(child.exit_code) if collector.has_started else None
        if run is None or run.status is not RunStatus.RAN:
            in_use.close()
        else:
            in_use.seconds += run.seconds
        return run

    def _job(self, experiment: Experiment, params: Params, seed: int) -> bytes:
        return encode_job(
            experiment.path, experiment.source, params, seed, self.deadline, self.memory, confined=self.confined
        )

    def stream(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled = lambda: False
    ) -> Generator[Row | QueuePosition, None, Run]:
        """As `Runner.stream`. Raises `Cancelled` within 50 ms while the child runs, two seconds while it is queued."""
        with closing(self.stream_batches(experiment, params, seed, is_cancelled)) as batches:
            events = GeneratorWithResult(batches)
            for batch in events:
                if isinstance(batch, QueuePosition):
                    yield batch
                else:
                    yield from batch
            return events.result

    def stream_batches(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled
    ) -> Generator[list[Row] | QueuePosition, None, Run]:
        """As `stream`, with rows that come together in one list."""
        with self._queue.join(clients_of_run()) as slot:
            with self.timings.time("queue"):
                yield from wait_for_slot(slot, is_cancelled)
            with self.timings.time("run"):
                return (yield from self._run_in_child(experiment, params, seed, is_cancelled))

    def _run_in_child(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled
    ) -> Generator[list[Row], None, Run]:
        """Run in an idle child; if it dies before the run has started, in another one."""
        attempts = _MAX_ATTEMPTS
        job = self._job(experiment, params, seed)
        while True:
            attempts -= 1
            try:
                child = self._children.acquire()
            except SpawnFailed as error:
                return RunCollector(experiment=experiment).spawn_failed(str(error), lasting=error.lasting)
            try:
                child.send_job(job)
                collector = yield from self._collect(experiment, child, is_cancelled)
                if collector.has_started or not attempts:
                    return collector.result(child.exit_code)
            finally:
                self._children.release(child)

    def _collect(
        self, experiment: Experiment, child: Child, is_cancelled: IsCancelled
    ) -> Generator[list[Row], None, RunCollector]:
        """Read messages until the run has finished, the child has exited or a deadline has passed."""
        collector, reader = RunCollector(experiment=experiment), MessageReader(child.pipe)
        asked_at = time.monotonic()
        while not collector.finished:
            if is_cancelled():
                raise Cancelled
            if seconds := self._passed_deadline(collector, asked_at):
                child.stop()
                if rows := collector.add_all(
                    reader.read_rest()
                ):  # this loop may be late itself, and the run be complete
                    yield rows
                return collector if collector.finished else collector.time_out(seconds)
            messages = reader.read(POLL_SECONDS)
            if messages is None:  # the child has exited
                break
            if rows := collector.add_all(messages):
                yield rows
        return collector

    def _passed_deadline(self, collector: RunCollector, asked_at: float) -> float:
        """The seconds that the child had, if they have passed: to get ready, or else for the run; 0 if not."""
        since, allowed = asked_at, IMPORT_TIMEOUT
        if collector.started_at is not None:
            since, allowed = collector.started_at, self.deadline
        return allowed if time.monotonic() - since > allowed else 0.0
