"""Children forked ahead of need: each waits on its pipe for one job, does it, and is gone."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import spawn
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from qa_service.lab.worker import job, main
from qa_service.model import Experiment

_NAME = "numstab experiment"
_AGAIN = (0.05, 0.5)  # seconds before the second and the third try
_prepared = spawn.get_preparation_data


def _without_main(name: str) -> dict[str, Any]:
    """Has children not import our main module anew, as multiprocessing would: no demo needs it, and it costs 30 ms."""
    data: dict[str, Any] = _prepared(name)
    if name == _NAME:
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


spawn.get_preparation_data = _without_main


class SpawnFailed(Exception):
    """No process could be started: no memory, descriptors or processes are left."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process that has torch imported and nothing done, and our end of its pipe."""

    process: ForkServerProcess
    pipe: Connection

    def send_job(
        self, experiment: Experiment, params: Mapping[str, Any], seed: int, deadline: float, mebibytes: int
    ) -> None:
        """Sends the one job; a child that has died meanwhile is found out by who listens to it."""
        with suppress(BrokenPipeError):
            self.pipe.send_bytes(job(experiment.path, experiment.source, params, seed, deadline, mebibytes))

    def exit_code(self) -> int | None:
        """Negative for a signal, once it has had a moment to end."""
        self.process.join(0.5)
        return self.process.exitcode

    def kill(self) -> None:
        """Kills it and whatever it has forked."""
        self.pipe.close()
        if self.process.pid is None:
            return
        for kill in (os.killpg, os.kill):  # the group first: a demo may have forked
            with suppress(ProcessLookupError, PermissionError):
                kill(self.process.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Waits until it has gone: for what torch holds, the kernel needs milliseconds."""
        self.process.join(1.0)
        with suppress(ValueError):  # still dying: its descriptor is freed later
            self.process.close()


class ChildPool:
    """Keeps `idle` of them waiting; may be used from several threads."""

    def __init__(self, context: ForkServerContext, idle: int) -> None:
        self._context = context
        self._idle = idle
        self._waiting: deque[Child] = deque()
        self._killed: deque[Child] = deque()
        self._refill_needed = threading.Event()
        self._filling: threading.Thread | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def acquire(self) -> Child:
        """One that waits already, else a new one; raises `NoChild` where the system gives none."""
        self.refill()
        while True:
            try:
                child = self._waiting.popleft()
            except IndexError:
                return self._forked()
            if child.process.is_alive():
                return child
            self.release(child)

    def release(self, child: Child) -> None:
        """Kills it at once; where children wait, nobody waits for it to be gone."""
        child.kill()
        if self._idle:
            self._killed.append(child)
            self.refill()
        else:
            child.reap()

    def _forked(self) -> Child:
        """A server that was killed is started anew by who asks next; he may have asked in the moment of its death."""
        for again in _AGAIN:
            try:
                return self._fork()
            except (OSError, EOFError):
                time.sleep(again)
        try:
            return self._fork()
        except (OSError, EOFError) as error:
            raise SpawnFailed(f"{type(error).__name__}: {error}") from error

    def refill(self) -> None:
        """Has the missing ones forked and the killed ones buried, in a thread of its own: nobody waits for that."""
        self._refill_needed.set()
        if self._idle and self._filling is None:
            self._filling = threading.Thread(target=self._keep_filled, daemon=True, name="children")
            self._filling.start()

    def _keep_filled(self) -> None:
        while self._refill_needed.wait():
            self._refill_needed.clear()
            while len(self._waiting) < self._idle:
                try:
                    self._waiting.append(self._fork())
                except (OSError, EOFError):  # no more processes or descriptors just now: the next run tries again
                    break
            while self._killed:
                self._killed.popleft().reap()

    def _fork(self) -> Child:
        here, there = self._context.Pipe(duplex=True)
        process = self._context.Process(target=main, args=(there,), daemon=True, name=_NAME)
        try:
            process.start()
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
        return Child(process, here)
