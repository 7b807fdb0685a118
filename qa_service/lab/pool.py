"""A pool of pre-forked child processes. Each waits on its pipe for a job; it is killed after its last one."""

import os
import signal
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

_RETRY_DELAYS = (0.05, 0.5)  # seconds before the second and the third try
_CLOSE_TIMEOUT = 5.0  # seconds


class SpawnFailed(Exception):
    """No process could be started: no memory, descriptors or processes are left, or this process is exiting.

    It is `lasting` if it will not help to try again: the setting NUMSTAB_PYTHON names no usable Python.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class ChildProcess(Protocol):
    """The attributes of a child's process that are used."""

    @property
    def pid(self) -> int | None:
        """The process id."""

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, `timeout` seconds at most."""

    def close(self) -> None:
        """Free what it holds; raises ValueError while it runs."""


@dataclass(frozen=True, slots=True)
class Child:
    """A child process that has torch imported and waits for a job, and the parent's end of its pipe."""

    process: "ChildProcess"
    pipe: Connection

    def send_job(self, job: bytes) -> None:
        """Sends a job, or its next seed; if the child has died, reading from its pipe shows it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send_bytes(job)

    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None if the child still runs after half a second."""
        self.process.join(0.5)
        return self.process.exitcode

    def kill(self) -> None:
        """Kills it and whatever it has forked, then closes the parent's end of its pipe.

        In the other order the end of file would wake the child before it is killed.
        """
        self.stop()
        self.pipe.close()

    def stop(self) -> None:
        """Kills it and whatever it has forked; what it has sent can still be read."""
        if self.process.pid is None:
            return
        for send_signal in (os.killpg, os.kill):  # the group first: a demo may have forked
            with suppress(ProcessLookupError, PermissionError):
                send_signal(self.process.pid, signal.SIGKILL)


class Spawner(Protocol):
    """Forks children from a server that has imported what they need. Used from several threads."""

    def start(self) -> None:
        """Start the server, without waiting for it."""

    def spawn(self) -> Child:
        """Fork a child; waits until the server is ready. Raises OSError or EOFError where that may work when tried
        again, `SpawnFailed` where it will not.
        """


class ChildPool:
    """Keeps `idle` children waiting, forked in a thread of its own. May be used from several threads."""

    def __init__(self, spawner: Spawner, idle: int) -> None:
        self._spawner = spawner
        self._idle = idle
        self._waiting: deque[Child] = deque()
        self._killed: deque[Child] = deque()
        self._refill_needed = threading.Event()
        self._refill_thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        """The number of idle children."""
        return len(self._waiting)

    def acquire(self) -> Child:
        """A waiting child, else a new one; opens the pool. Raises `SpawnFailed` where no process can be started."""
        self.open()
        while True:
            try:
                child = self._waiting.popleft()
            except IndexError:
                return self._fork_with_retries()
            if child.process.is_alive():
                return child
            self.release(child)

    def release(self, child: Child) -> None:
        """Kills a child at once. Where children are kept waiting, the refill thread waits for its end."""
        child.kill()
        if self._idle and not self._closed:
            self._killed.append(child)
            self._refill()
        else:
            self._reap(child)

    def open(self) -> None:
        """Has `idle` children forked, without waiting for them."""
        with self._lock:
            self._closed = False
        self._refill()

    def close(self) -> None:
        """Kills the waiting children and ends the refill thread; children at work are left to their runs."""
        with self._lock:
            self._closed = True
            thread = self._refill_thread
        self._refill_needed.set()
        if thread is not None:
            thread.join(_CLOSE_TIMEOUT)  # it may be waiting for the fork server, which is importing torch
        self._kill_waiting()

    def _refill(self) -> None:
        """Wakes the refill thread, or starts it."""
        self._refill_needed.set()
        with self._lock:
            running = self._refill_thread is not None and self._refill_thread.is_alive()
            if self._idle and not self._closed and not running:
                thread = threading.Thread(target=self._keep_filled, daemon=True, name="children")
                with suppress(RuntimeError, MemoryError):  # no thread is left now: the next run tries again
                    thread.start()
                    self._refill_thread = thread

    def _fork_with_retries(self) -> Child:
        """A new child, tried three times: the next fork restarts a fork server that has died, but not always at once.

        Raises `SpawnFailed`.
        """
        for pause in _RETRY_DELAYS:
            try:
                return self._spawner.spawn()
            except (OSError, EOFError):
                time.sleep(pause)
        try:
            return self._spawner.spawn()
        except (OSError, EOFError) as error:
            raise SpawnFailed(f"{type(error).__name__}: {error}") from error

    def _keep_filled(self) -> None:
        while self._refill_needed.wait() and not self._closed:
            self._refill_needed.clear()
            while len(self._waiting) < self._idle and not self._closed:
                try:
                    self._waiting.append(self._fork_with_retries())
                except SpawnFailed:  # no processes or descriptors now: the next run tries again
                    break
            while self._killed:
                self._reap(self._killed.popleft())
        self._kill_waiting()

    def _kill_waiting(self) -> None:
        for children in (self._waiting, self._killed):
            with suppress(IndexError):
                while True:
                    child = children.popleft()
                    child.kill()
                    self._reap(child)

    def _reap(self, child: Child) -> None:
        """Waits until a killed child has ended: the kernel needs milliseconds to free torch's memory."""
        child.process.join(1.0)
        with suppress(ValueError):  # it has not ended yet: its descriptor is freed later
            child.process.close()
