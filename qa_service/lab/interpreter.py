"""Spawns children in a Python, this one or another (NUMSTAB_PYTHON) that has torch, so that this one needs none.

They are forked by a server that runs in that Python (`lab/interpreter_server.py`) and has torch imported. The fork
server of `multiprocessing` does not do: a program has only one, and numstab may be a part of a program; its protocol
differs between versions of Python; and each fork pickles, imports and unpickles what no child here needs.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import qa_service
from qa_service.lab.interpreter_server import NATIVE_INT, READY_MESSAGE, SERVER_CODE
from qa_service.lab.messages import read_poller
from qa_service.lab.pool import Child, SpawnFailed
from qa_service.machine import Environment, environment

_START_TIMEOUT = 120.0  # seconds to import torch on a cold, busy machine
_FORK_TIMEOUT = 30.0  # seconds
_BACKLOG = 64  # processes that may connect to a server that is still importing
_SERVER_DIED = 255  # the exit code of a child whose server has ended


def environment_of(python: str) -> Environment:
    """The environment of runs in that Python, whose bits may differ; that of this one if it does not answer."""
    code = "import platform; from importlib.metadata import version; print(version('torch'), platform.python_version())"
    with suppress(OSError, subprocess.SubprocessError):
        versions = subprocess.run(
            [python, "-c", code], check=True, capture_output=True, text=True, timeout=_START_TIMEOUT
        ).stdout.split()
        return environment(*versions)
    return environment()


def shared_interpreter(python: str, preload: tuple[str, ...]) -> "Interpreter":
    """The spawner of children in `python` ("" for this one), whose server has imported `preload`.

    All callers share it, as a server takes seconds to start; it ends when no caller holds it any more.
    """
    with _LOCK:
        found = _INTERPRETERS.get((python, preload))
        if found is None:
            found = _INTERPRETERS[python, preload] = Interpreter(python, preload)
        return found


@contextmanager
def server_for_workers(python: str, preload: tuple[str, ...], address: Path) -> Iterator[None]:
    """A server for several processes, which find it by `connect_interpreter`, while the block runs: torch is in memory
    once.

    `address` is a path that does not exist, in a folder that only this user can enter. Where no server can be started
    the block runs all the same, and each process starts its own.
    """
    with ExitStack() as stack:
        with suppress(OSError, SpawnFailed), socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(address))
            listening.listen(_BACKLOG)
            stack.callback(_Server(python, preload, listening.fileno()).end)
        yield


def connect_interpreter(python: str, preload: tuple[str, ...], address: Path) -> "Interpreter":
    """The spawner of children that a `server_for_workers` forks, or a server of this process once that has ended.

    `shared_interpreter` returns it, too, from now on, as long as it is held.
    """
    with _LOCK:
        found = _INTERPRETERS[python, preload] = Interpreter(python, preload, address)
        return found


class Interpreter:
    """A `Spawner` of children in the Python `python`, whose server has imported `preload`. Thread-safe."""

    def __init__(self, python: str, preload: tuple[str, ...], address: Path | None = None) -> None:
        """`address` is that of a server that is shared with other processes."""
        self._python = python
        self._preload = preload
        self._address = address
        self._lock = threading.Lock()
        self._server: _Client | None = None

    @property
    def server_pid(self) -> int:
        """The process id of the server; 0 while none runs, or where it is another process's."""
        server = self._server
        return server.pid if isinstance(server, _Server) else 0

    def start(self) -> None:
        """Start the server, unless it runs; if that fails, `spawn` raises the error."""
        with self._lock, suppress(SpawnFailed):
            self._running()

    def spawn(self) -> Child:
        """Fork a child; waits until the server has imported its modules.

        Raises `SpawnFailed` where the Python cannot serve, OSError or EOFError where the server has just ended.
        """
        with self._lock:
            server = self._running()
            try:
                server.wait_until_ready()
                return server.fork()
            except (OSError, EOFError, SpawnFailed):
                self._server = None
                server.end()
                raise

    def _running(self) -> "_Client":
        if self._server is None:
            self._server = self._connected() or _Server(self._python, self._preload)
            weakref.finalize(self, self._server.end).atexit = False  # `_Server.end_all` does that
        return self._server

    def _connected(self) -> "_Client | None":
        """The shared server; None if there is none, or none any more."""
        if self._address is not None:
            requests = socket.socket(socket.AF_UNIX)
            try:
                requests.connect(str(self._address))
            except OSError:
                requests.close()
            else:
                return _Client(requests)
        return None


_LOCK = threading.Lock()
_INTERPRETERS: "weakref.WeakValueDictionary[tuple[str, tuple[str, ...]], Interpreter]" = weakref.WeakValueDictionary()


class _Client:
    """A connection to a fork server."""

    def __init__(self, requests: socket.socket, setting: str = "") -> None:
        """`setting` names the Python of the server, if an operator has chosen it."""
        self._requests = requests
        self._setting = setting
        self._ready = False
        self._owner = os.getpid()

    def wait_until_ready(self) -> None:
        """Return once it has imported its modules; raises `SpawnFailed` if it ends instead, or takes too long.

        It raises EOFError instead where no setting names the Python, so that there is none to correct.
        """
        if self._ready:
            return
        self._requests.settimeout(_START_TIMEOUT)
        with suppress(OSError):
            self._ready = self._requests.recv(len(READY_MESSAGE)) == READY_MESSAGE
        if not self._ready:
            reason = self._reason()
            if not self._setting:
                raise EOFError(reason)
            raise SpawnFailed(f"{self._setting}: {reason}", lasting=True)

    def _reason(self) -> str:
        """The reason why the server has not become ready."""
        return "it gave no answer"

    def fork(self) -> Child:
        """A new child. Raises OSError or EOFError where the server has ended."""
        with ExitStack() as on_failure, ExitStack() as sent:
            pipe, its_pipe = Pipe(duplex=True)
            on_failure.callback(pipe.close)
            sent.callback(its_pipe.close)
            status, its_status = Pipe(duplex=False)
            on_failure.callback(status.close)
            sent.callback(its_status.close)
            self._requests.settimeout(_FORK_TIMEOUT)
            socket.send_fds(self._requests, [b"f"], [its_pipe.fileno(), its_status.fileno()])
            sent.close()  # the server has its own descriptors now; if it ends, the ends of file are seen
            process = ForkedProcess(status)
            on_failure.pop_all()
        return Child(process, pipe)

    def end(self) -> None:
        """Close the connection, upon which the server kills the children asked for here. Does nothing twice."""
        if os.getpid() == self._owner:  # not in a process that somebody has forked from this one
            self._requests.close()


class _Server(_Client):
    """The process of a fork server, and the connection to it."""

    _running: "set[_Server]" = set()  # noqa: RUF012  # of all, for the end of this process
    _exiting = False

    def __init__(self, python: str, preload: tuple[str, ...], listening: int = -1) -> None:
        """`listening` is the descriptor of a socket at which it takes connections from other processes, too.

        Raises `SpawnFailed` where `python` cannot be executed, or this process is exiting.
        """
        if _Server._exiting:
            raise SpawnFailed("this process is exiting")
        requests, its_end = socket.socketpair()
        super().__init__(requests, f"NUMSTAB_PYTHON={python}" if python else "")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        package = str(Path(qa_service.__file__).resolve().parent)
        path = "" if python else json.dumps([folder for folder in sys.path if folder])
        descriptors = [str(its_end.fileno()), str(listening)]
        try:
            with _interrupts_blocked():
                self._process = subprocess.Popen(
                    [python or sys.executable, "-c", SERVER_CODE, package, *descriptors, path, *preload],
                    pass_fds=[each for each in (its_end.fileno(), listening) if each >= 0],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                )
        except OSError as error:
            self._requests.close()
            self._errors.close()
            if not self._setting:
                raise
            raise SpawnFailed(f"{self._setting}: {error.strerror or error}", lasting=True) from error
        finally:
            its_end.close()
        _Server._running.add(self)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def _reason(self) -> str:
        lines: list[str] = []
        with suppress(ValueError):  # another thread has ended it: this process is exiting
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else super()._reason()

    def end(self) -> None:
        """Kill it, and with it, on Linux, its children; elsewhere they end as their pipes do. Does nothing twice."""
        if os.getpid() != self._owner:  # in a process that somebody has forked from this one
            return
        _Server._running.discard(self)
        self._requests.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    @staticmethod
    def end_all() -> None:
        """End all servers, and let no other begin, as this process is exiting."""
        _Server._exiting = True
        for server in tuple(_Server._running):
            server.end()


atexit.register(_Server.end_all)


class ForkedProcess:
    """A `ChildProcess` that the fork server has forked and waits for; a pipe gives its id and exit code."""

    def __init__(self, status: Connection) -> None:
        """From `status` the process id and later the exit code are read. Raises EOFError."""
        self._status = status
        self._readable = read_poller(status)
        self._lock = threading.Lock()
        self._code: int | None = None
        number = self._read_number(_FORK_TIMEOUT)
        if number is None:
            raise EOFError("no process was forked")
        self.pid = number

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        self.join(0)
        return self._code

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, `timeout` seconds at most."""
        with self._lock:
            if self._code is None and self._can_read(timeout):
                number = self._read_number(0)
                self._code = _SERVER_DIED if number is None else number

    def close(self) -> None:
        """Free its descriptor; raises ValueError while it runs."""
        if self.exitcode is None:
            raise ValueError("the process still runs")
        with self._lock:
            self._status.close()

    def _can_read(self, timeout: float | None) -> bool:
        return bool(self._readable.poll(None if timeout is None else timeout * 1000))

    def _read_number(self, timeout: float) -> int | None:
        """The next number, or None at the end or after `timeout` seconds."""
        if not self._can_read(timeout):
            return None
        data = os.read(self._status.fileno(), NATIVE_INT.size)
        return NATIVE_INT.unpack(data)[0] if len(data) == NATIVE_INT.size else None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT for the duration of the block, so that processes that start in it have it blocked until they set
    their own handler.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
