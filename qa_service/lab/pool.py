"""A pool of pre-forked child processes. Each waits on its pipe for one job, does it and exits."""

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

from qa_service.lab.worker import child_main, encode_job
from qa_service.model import Experiment

_PROCESS_NAME = "numstab experiment"
_RETRY_DELAYS = (0.05, 0.5)  # seconds before the second and the third attempt to fork
_get_preparation_data = spawn.get_preparation_data


def _preparation_data_without_main(name: str) -> dict[str, Any]:
    """Preparation data that keeps children from importing our main module again: no demo needs it, and it costs 30 ms.

    Other processes of multiprocessing get theirs unchanged.
    """
    data: dict[str, Any] = _get_preparation_data(name)
    if name == _PROCESS_NAME:
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


spawn.get_preparation_data = _preparation_data_without_main


class SpawnFailed(Exception):
    """The system cannot start a child process: no memory, descriptors or processes are left."""


@dataclass(frozen=True, slots=True)
class Child:
    """One child process, with torch imported, and the parent's end of its pipe."""

    process: ForkServerProcess
    pipe: Connection

    def send_job(
        self, experiment: Experiment, params: Mapping[str, Any], seed: int, deadline: float, mebibytes: int
    ) -> None:
        """Send the child its one job; `deadline` in seconds, memory in MiB.

        Does not fail if the child has died: whoever reads from the pipe will notice.
        """
        with suppress(BrokenPipeError):
            self.pipe.send_bytes(encode_job(experiment.path, experiment.source, params, seed, deadline, mebibytes))

    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None if it still runs after half a second."""
        self.process.join(0.5)
        return self.process.exitcode

    def kill(self) -> None:
        """Close the pipe and send SIGKILL to the child and to whatever it has forked."""
        self.pipe.close()
        if self.process.pid is None:
            return
        for send_signal in (os.killpg, os.kill):  # the group first: a demo may have forked
            with suppress(ProcessLookupError, PermissionError):
                send_signal(self.process.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Join the killed process; the kernel needs milliseconds to free torch's memory."""
        self.process.join(1.0)
        with suppress(ValueError):  # it has not exited yet: its descriptor is freed later
            self.process.close()


class ChildPool:
    """Keeps `idle` children forked and waiting for a job; 0 forks each on demand. Thread-safe."""

    def __init__(self, context: ForkServerContext, idle: int) -> None:
        self._context = context
        self._idle = idle
        self._waiting: deque[Child] = deque()
        self._killed: deque[Child] = deque()
        self._refill_needed = threading.Event()
        self._refill_thread: threading.Thread | None = None

    def __len__(self) -> int:
        """The number of idle children."""
        return len(self._waiting)

    def acquire(self) -> Child:
        """An idle child, or a new one if none is left. Raises `SpawnFailed`."""
        self.refill()
        while True:
            try:
                child = self._waiting.popleft()
            except IndexError:
                return self._fork_with_retries()
            if child.process.is_alive():
                return child
            self.release(child)

    def release(self, child: Child) -> None:
        """Kill the child. With idle children kept it is reaped in the background, else before this returns."""
        child.kill()
        if self._idle:
            self._killed.append(child)
            self.refill()
        else:
            child.reap()

    def _fork_with_retries(self) -> Child:
        """Fork, retrying twice: a fork server that has just died is restarted by the next request."""
        for delay in _RETRY_DELAYS:
            try:
                return self._fork()
            except (OSError, EOFError):
                time.sleep(delay)
        try:
            return self._fork()
        except (OSError, EOFError) as error:
            raise SpawnFailed(f"{type(error).__name__}: {error}") from error

    def refill(self) -> None:
        """Have a background thread fork the missing children and reap the killed ones; returns at once."""
        self._refill_needed.set()
        if self._idle and self._refill_thread is None:
            self._refill_thread = threading.Thread(target=self._refill_loop, daemon=True, name="children")
            self._refill_thread.start()

    def _refill_loop(self) -> None:
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
        parent_end, child_end = self._context.Pipe(duplex=True)
        process = self._context.Process(target=child_main, args=(child_end,), daemon=True, name=_PROCESS_NAME)
        try:
            process.start()
        except BaseException:
            parent_end.close()
            raise
        finally:
            child_end.close()
        return Child(process, parent_end)
