"""Runs experiments on the machines of a Ray cluster, and on this one whenever there is none (`NUMSTAB_CLUSTER`).

Messages are JSON: the source of an experiment, its parameters and seeds one way, rows and runs the other. A run is
determined by its seed, so one whose machine is lost is begun again elsewhere, and the rows already shown are skipped.
Ray itself is in a process of its own: `cluster_driver`. The reasons are in docs/decisions/0018-the-cluster.md.
"""

import hashlib
import itertools
import logging
import os
import queue
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from qa_service import __version__
from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.clients import clients_of_run
from qa_service.lab.cluster_start import check_address, check_token, cluster_environment, kill_session
from qa_service.lab.queue import FairQueue
from qa_service.lab.run_json import run_from_json
from qa_service.lab.runner import (
    POLL_SECONDS,
    Cancelled,
    GeneratorWithResult,
    ProcessRunner,
    QueuePosition,
    run_to_end,
    wait_for_slot,
)
from qa_service.machine import Environment, environment
from qa_service.model import Experiment, Params, Row, Run, RunStatus, Text
from qa_service.telemetry.timing import Timings

if TYPE_CHECKING:
    from qa_service.lab.cluster_messages import JobMessage, ListedNode

logger = logging.getLogger("qa_service.lab.cluster")
_SILENT_SECONDS = 15.0  # of a driver that says once a second which machines there are
_CONNECT_SECONDS = 120.0
_RETRY_SECONDS = (1.0, 5.0, 30.0)  # before the cluster is tried again
_MAX_MACHINES = 3  # on which one run is tried: what ends three of them is not tried on this one
_SEEDS_PER_JOB = 50
_STOP_TIMEOUT = 8.0  # a little more than the driver takes to end its node


class MachineLost(Exception):
    """The machine that executed a run does not answer any more."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the cluster: how many runs it executes at once, and what determines the last bits of its results."""

    id: str
    slots: int
    environment: Environment


class DriverProcess:
    """The process that is connected to the cluster, started again whenever it ends. Thread-safe.

    `on_change` is called with the machines that take jobs: none whenever the cluster is out of reach.
    """

    def __init__(self, command: Sequence[str], on_change: Callable[[Sequence[Machine]], None]) -> None:
        self._command = command
        self._on_change = on_change
        self._machines: tuple[Machine, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs: dict[int, queue.SimpleQueue[JobMessage]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def session_id(self) -> int:
        """The id of the session of the process and its children; 0 if it does not run."""
        process = self._process
        return process.pid if process is not None else 0

    def start(self) -> None:
        """Connect to the cluster, and again whenever the connection is lost, in a thread of its own."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._closed.clear()
                self._thread = threading.Thread(target=self._keep_connected, daemon=True, name="cluster")
                self._thread.start()

    def close(self) -> None:
        """End the process. Runs in progress are lost."""
        self._closed.set()
        process, thread = self._process, self._thread
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        if thread is not None:
            thread.join(_STOP_TIMEOUT)
            if thread.is_alive() and process is not None:  # it is still connecting
                process.kill()
                thread.join(_STOP_TIMEOUT)

    def events(self, machine: Machine, job: bytes, is_cancelled: IsCancelled) -> Generator["JobMessage", None, None]:
        """The messages of a job on this machine, but for its end. Raises `MachineLost` or `Cancelled`.

        The job is cancelled if the generator is closed before its end.
        """
        number, messages = next(self._numbers), queue.SimpleQueue["JobMessage"]()
        self._jobs[number] = messages
        ended = False
        try:
            self._write(f"run {number} {machine.id} ".encode() + job)
            while not ended:
                if is_cancelled():
                    raise Cancelled
                try:
                    message = messages.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                ended = message[0] in {"end", "lost"}
                if message[0] == "lost":
                    raise MachineLost(message[1])
                if not ended:
                    yield message
        finally:
            del self._jobs[number]
            if not ended:
                with suppress(MachineLost):
                    self._write(f"cancel {number}".encode())

    def _write(self, line: bytes) -> None:
        with self._lock:
            process = self._process
            if process is None or process.stdin is None:
                raise MachineLost("the cluster is out of reach")
            try:
                process.stdin.write(line + b"\n")
                process.stdin.flush()
            except (OSError, ValueError) as error:  # it has ended, or is being closed
                raise MachineLost("the cluster is out of reach") from error

    def _keep_connected(self) -> None:
        delays = iter(_RETRY_SECONDS)
        delay = 0.0
        while not self._closed.wait(delay):
            env = cluster_environment(os.environ)
            process = subprocess.Popen(
                self._command,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                stderr=subprocess.DEVNULL,
            )
            with self._lock:
                self._process = process
            was_connected = False
            try:
                was_connected = self._read(process)
            except ValueError as error:
                logger.warning("the process that is connected to the cluster has sent nonsense: %s", error)
            finally:
                with self._lock:
                    self._process = None
                self._lose_all()
                self._end(process)
            delays = iter(_RETRY_SECONDS) if was_connected else delays
            delay = next(delays, _RETRY_SECONDS[-1])

    def _read(self, process: "subprocess.Popen[bytes]") -> bool:
        """Dispatches the driver's messages until it ends or is silent; returns whether it was connected."""
        from qa_service.lab.cluster_messages import decode_cluster_line

        assert process.stdout is not None
        descriptor, rest, connected = process.stdout.fileno(), b"", False
        while select.select([descriptor], [], [], _SILENT_SECONDS if connected else _CONNECT_SECONDS)[0]:
            if not (data := os.read(descriptor, 1 << 20)):
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                number, message = decode_cluster_line(line)
                match message:
                    case "nodes", nodes:
                        connected = True
                        self._set_machines(nodes)
                    case "problem", why:
                        logger.warning("the cluster is out of reach: %s", why)
                        return connected
                    case "refused", why:
                        logger.warning("a machine of the cluster takes no jobs: %s", why)
                    case _ if (messages := self._jobs.get(number)) is not None:
                        messages.put(message)
        return connected

    def _set_machines(self, nodes: "Sequence[ListedNode]") -> None:
        machines = tuple(
            Machine(each.id, each.slots, each.environment) for each in nodes if each.numstab == __version__
        )  # fmt: skip
        if machines != self._machines:
            self._machines = machines
            logger.info("machines of the cluster: %d, slots: %d", len(machines), sum(each.slots for each in machines))
            self._on_change(machines)

    def _lose_all(self) -> None:
        self._set_machines(())
        for messages in tuple(self._jobs.values()):
            messages.put(("lost", "the cluster is out of reach"))

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT)
        kill_session(process.pid)
        process.wait()


class RayRunner:
    """A `Runner` that executes each run on the machine of the cluster with the most free slots, or else on this one.

    The queue for all their slots is this service's own, fair between its clients; a machine's is fair between services.
    """

    def __init__(self, local: ProcessRunner, driver: Sequence[str]) -> None:
        """`driver` is the command of the process that is connected to the cluster."""
        self._local = local
        self._machines: Sequence[Machine] = ()
        self._busy: dict[str, int] = {}
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._queue = FairQueue(local.slots)
        self._connected = threading.Event()
        self.choose_machine: Callable[[Sequence[Machine]], Machine] = self._least_busy
        """Chooses the machine on which a run begins, from those that may execute it; called with the lock held."""
        self._driver = DriverProcess(driver, self._set_machines)
        self._driver.start()

    @classmethod
    def connect(cls, local: ProcessRunner, address: str) -> Self:
        """A runner on the cluster whose head is at `address`, host:port; raises `BadField` where it cannot be one."""
        check_token(os.environ)
        check_address(address, "NUMSTAB_CLUSTER")
        return cls(local, (sys.executable, "-m", "qa_service.lab.cluster_driver", address))

    @property
    def slots(self) -> int:
        """How many runs execute at once: on all machines of the cluster, or on this one while there is none."""
        return sum(each.slots for each in self._machines) or self._local.slots

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot."""
        return len(self._queue) + self._local.waiting

    def waiting_of(self, client: str) -> int:
        """How many runs of this client wait for a slot."""
        return self._queue.waiting_of(client) + self._local.waiting_of(client)

    @property
    def ready(self) -> int:
        """How many idle children wait for a job, as far as this service knows: one for each slot."""
        return self._queue.free_slots if self._machines else self._local.ready

    @property
    def timings(self) -> Timings:
        """Reports how long the stages of a run take."""
        return self._local.timings

    @property
    def busy(self) -> dict[str, int]:
        """How many of this service's runs each machine executes, by its id; without idle machines."""
        with self._lock:
            return dict(self._busy)

    def environments(self) -> list[Environment]:
        """What results depend on where runs are executed now, once for each kind of machine."""
        return sorted({each.environment for each in self._machines}) or [environment()]

    def driver_session_id(self) -> int:
        """The id of the session of the processes that connect this service to the cluster, 0 if there are none now."""
        return self._driver.session_id

    def wait_until_connected(self, seconds: float) -> bool:
        """Waits until a machine of the cluster takes jobs, `seconds` at most; returns whether one does."""
        return self._connected.wait(seconds)

    def finished(self, experiment: Experiment, params: Params, seed: int = 0) -> Run | None:  # noqa: ARG002
        """Always None, as this runner keeps no runs."""
        return None

    def close(self) -> None:
        """Ends the connection and the idle children of this machine; the next run starts them again."""
        self._driver.close()
        self._local.close()

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """Execute the experiment to its end. The same seed gives the same numbers to the bit on machines of a kind."""
        return run_to_end(self.stream(experiment, params, seed))

    def run_seeds(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> list[Run]:
        """As `Runner.run_seeds`, on as many slots as there are."""
        first = self.run(experiment, params, seeds[0])
        if not (others := seeds[1:]) or not first.used_rng:
            return [first]
        size = max(1, min(_SEEDS_PER_JOB, -(-len(others) // self.slots)))
        parts = [others[start : start + size] for start in range(0, len(others), size)]
        measure = partial(self._run_part, experiment, params)
        with ThreadPoolExecutor(min(len(parts), self.slots)) as pool:
            runs = [pool.submit(copy_context().run, measure, part) for part in parts]
            return [first, *(run for part in runs for run in part.result())]

    def run_settings(
        self, experiment: Experiment, settings: Iterable[Params], seeds: Sequence[int]
    ) -> Generator[list[Run], None, None]:
        """As `Runner.run_settings`, the seeds of each on as many slots as there are."""
        for params in settings:
            yield self.run_seeds(experiment, params, seeds)

    def _run_part(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> list[Run]:
        """The runs with these seeds, in few children of one machine."""
        with self._queue.join(clients_of_run()) as slot:
            run_to_end(wait_for_slot(slot, _never))
            tried: set[str] = set()
            runs: list[Run] = []
            while len(runs) < len(seeds) and (machine := self._take(tried)) is not None:
                before = len(runs)
                job = self._job(experiment, params, seeds[before:])
                try:
                    for message in self._driver.events(machine, job, _never):
                        if message[0] == "run":
                            runs.append(_parse_run(experiment, message[1]))
                except MachineLost:
                    tried.add(machine.id)
                finally:
                    self._give_back(machine)
                if len(runs) == before:
                    tried.add(machine.id)
        left = seeds[len(runs) :]
        return runs + (self._local.run_seeds(experiment, params, left) if left else [])

    def stream(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled = lambda: False
    ) -> Generator[Row | QueuePosition, None, Run]:
        """As `Runner.stream`. Raises `Cancelled` within 50 ms while it runs, two seconds while it is queued."""
        self._driver.start()
        if not self._machines:
            return (yield from self._local.stream(experiment, params, seed, is_cancelled))
        with self._queue.join(clients_of_run()) as slot:
            with self.timings.time("queue"):
                yield from wait_for_slot(slot, is_cancelled)
            with self.timings.time("run"):
                return (yield from self._run_somewhere(experiment, params, seed, is_cancelled))

    def _run_somewhere(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled
    ) -> Generator[Row | QueuePosition, None, Run]:
        """Runs it on one machine after another until one has executed it; yields no row twice."""
        shown: list[Row] = []
        tried: set[str] = set()
        kind: Environment | None = None
        job = self._job(experiment, params, [seed])
        while (machine := self._take(tried, kind)) is not None:
            kind = machine.environment
            try:
                with closing(self._on_machine(machine, experiment, job, is_cancelled)) as events:
                    return (yield from _skip_shown(events, shown))
            except MachineLost as error:
                logger.warning("a machine was lost during a run of %s: %s", experiment.slug, error)
                tried.add(machine.id)
                if len(tried) == _MAX_MACHINES:
                    return Run(status=RunStatus.CRASHED, rows=tuple(shown), note=_LOST_TOO_OFTEN)
            finally:
                self._give_back(machine)
        with closing(self._local.stream(experiment, params, seed, is_cancelled)) as events:
            return (yield from _skip_shown(events, shown))

    def _on_machine(
        self, machine: Machine, experiment: Experiment, job: bytes, is_cancelled: IsCancelled
    ) -> Generator[Row | QueuePosition, None, Run]:
        run: Run | None = None
        with closing(self._driver.events(machine, job, is_cancelled)) as messages:
            for message in messages:
                match message:
                    case "rows", rows:
                        yield from rows
                    case "position", position:
                        yield QueuePosition(position)
                    case "run", text:
                        run = _parse_run(experiment, text)
        if run is None:
            raise MachineLost("it sent no run")
        return run

    def _job(self, experiment: Experiment, params: Params, seeds: Sequence[int]) -> bytes:
        from qa_service.lab.cluster_messages import ClusterJob

        job = ClusterJob(
            slug=experiment.slug, path=experiment.path, source=experiment.source, metrics=list(experiment.metrics),
            params=dict(params), seeds=list(seeds), deadline=self._local.deadline, memory=self._local.memory,
            clients=[hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in clients_of_run()],
        )  # fmt: skip
        return job.model_dump_json().encode()

    def _take(self, tried: set[str], kind: Environment | None = None) -> Machine | None:
        """Chooses a machine of those not `tried`, preferably of this kind, and reserves a slot; None if there is
        none.
        """
        with self._lock:
            usable = [each for each in self._machines if each.id not in tried]
            usable = [each for each in usable if each.environment == kind] or usable
            if not usable:
                return None
            machine = self.choose_machine(usable)
            self._busy[machine.id] = self._busy.get(machine.id, 0) + 1
            return machine

    def _least_busy(self, usable: Sequence[Machine]) -> Machine:
        turn = next(self._turn) % len(usable)  # equally busy machines take turns
        return min([*usable[turn:], *usable[:turn]], key=lambda each: self._busy.get(each.id, 0) / each.slots)

    def _give_back(self, machine: Machine) -> None:
        with self._lock:
            self._busy[machine.id] -= 1
            if not self._busy[machine.id]:
                del self._busy[machine.id]

    def _set_machines(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self._queue.resize(self.slots)
        (self._connected.set if machines else self._connected.clear)()


def _parse_run(experiment: Experiment, text: str) -> Run:
    """The run that a machine has sent; raises `MachineLost` if it is none."""
    try:
        return run_from_json(experiment, text)
    except ValueError as error:
        raise MachineLost("it sent no run of this experiment") from error


def _never() -> bool:
    return False


def _skip_shown(
    events: Generator[Row | QueuePosition, None, Run], shown: list[Row]
) -> Generator[Row | QueuePosition, None, Run]:
    """The events without the rows that have been shown, to which new ones are added.

    A machine of another kind may measure other last bits: a run that does not begin with the rows shown is given up.
    """
    position = 0
    execution = GeneratorWithResult(events)
    for event in execution:
        if isinstance(event, QueuePosition):
            yield event
        elif position == len(shown):
            shown.append(event)
            position += 1
            yield event
        elif repr(event) != repr(shown[position]):  # nan is not equal to itself
            return Run(status=RunStatus.CRASHED, rows=tuple(shown), note=_OTHER_KIND)
        else:
            position += 1
    return execution.result


_LOST_TOO_OFTEN = Text(
    "运行这个实验的机器接连失去联系，没有再试。", "Machine after machine was lost during this run; it was given up."
)
_OTHER_KIND = Text(
    "运行到一半，那台机器失去了联系，剩下的机器型号不同，末几位数不一样，不能接着算。请再问一次。",
    "The machine was lost in mid-run, and those that are left are of another kind, whose last digits differ. "
    "Please ask again.",
)
