"""Children of another Python (NUMSTAB_PYTHON): its torch measures, and this Python needs none.

They are forked by a server that runs there (`lab/interpreter_server.py`) and are confined as all children are.
`multiprocessing` could start its fork server with another interpreter, but its protocol differs between versions of
Python, and it would put our packages on the path of the other one.
"""

import os
import socket
import subprocess
import tempfile
import threading
import weakref
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from pathlib import Path
from select import select

import qa_service
from qa_service.lab.interpreter_server import READY, START
from qa_service.lab.pool import Child, SpawnFailed
from qa_service.machine import Environment, environment

_START_TIMEOUT = 120.0  # seconds to import torch on a cold, busy machine
_FORK_TIMEOUT, _END_TIMEOUT = 30.0, 1.0  # seconds
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


class OtherInterpreter:
    """A `Spawner` of children in the Python `python`, whose server has imported `preload`. Thread-safe."""

    def __init__(self, python: str, preload: tuple[str, ...]) -> None:
        self._python = python
        self._preload = preload
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self) -> None:
        """Start the server, unless it runs; what fails is said by `spawn`."""
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

    def _running(self) -> "_Server":
        if self._server is None:
            self._server = _Server(self._python, self._preload)
            weakref.finalize(self, self._server.end)
        return self._server


class _Server:
    """The process of a fork server."""

    def __init__(self, python: str, preload: tuple[str, ...]) -> None:
        """Raises `SpawnFailed` where `python` cannot be executed."""
        self._name = f"NUMSTAB_PYTHON={python}"
        self._ready = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        self._requests, its_end = socket.socketpair()
        package = str(Path(qa_service.__file__).resolve().parent)
        try:
            self._process = subprocess.Popen(
                [python, "-c", START, package, str(its_end.fileno()), *preload], pass_fds=(its_end.fileno(),),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._requests.close()
            self._errors.close()
            raise SpawnFailed(f"{self._name}: {error.strerror or error}", lasting=True) from error
        finally:
            its_end.close()

    def wait_until_ready(self) -> None:
        """Return once it has imported its modules; raises `SpawnFailed` if it ends instead, or takes too long."""
        if self._ready:
            return
        self._requests.settimeout(_START_TIMEOUT)
        with suppress(OSError):
            self._ready = self._requests.recv(len(READY)) == READY
        if not self._ready:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            raise SpawnFailed(f"{self._name}: {lines[-1][:300] if lines else 'it gave no answer'}", lasting=True)

    def fork(self) -> Child:
        """A new child. Raises OSError or EOFError where the server has ended."""
        with ExitStack() as on_failure, ExitStack() as sent:
            pipe, its_pipe = Pipe(duplex=True)
            on_failure.callback(pipe.close)
            sent.callback(its_pipe.close)
            status, its_status = os.pipe()
            on_failure.callback(os.close, status)
            sent.callback(os.close, its_status)
            self._requests.settimeout(_FORK_TIMEOUT)
            socket.send_fds(self._requests, [b"f"], [its_pipe.fileno(), its_status])
            sent.close()  # the server has its own descriptors now; if it ends, the ends of file are seen
            process = OtherProcess(status)
            on_failure.pop_all()
        return Child(process, pipe)

    def end(self) -> None:
        """Close its socket, at which it exits, and its children with it."""
        self._requests.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TIMEOUT)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()


class OtherProcess:
    """A process that another one has forked and waits for: a `ChildProcess`, told of by a pipe of lines."""

    def __init__(self, status: int) -> None:
        """`status` is the descriptor of which the process id and later the exit code are read. Raises EOFError."""
        self._status = status
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
            if self._code is not None or not select([self._status], [], [], timeout)[0]:
                return
            number = self._read_number(0)
            self._code = _SERVER_DIED if number is None else number

    def close(self) -> None:
        """Free its descriptor; raises ValueError while it runs."""
        if self.exitcode is None:
            raise ValueError("the process still runs")
        with self._lock:
            if self._status >= 0:
                os.close(self._status)
                self._status = -1

    def _read_number(self, timeout: float) -> int | None:
        """The next line as a number, or None at the end or after `timeout` seconds."""
        if not select([self._status], [], [], timeout)[0]:
            return None
        line = b""
        while not line.endswith(b"\n"):  # not more than a line: the second may be there already
            if not (byte := os.read(self._status, 1)):
                return None
            line += byte
        return int(line)
