"""The fork server: in a Python that has torch, it forks a child for each request.

Only the standard library and what a child needs of `qa_service` are imported here; that Python may be another one
(NUMSTAB_PYTHON) in which numstab is not installed. `SERVER_CODE` is the code that it is started with. Requests come
over a Unix socket, each with two descriptors: the child's end of its pipe, and where its process id and, later, its
exit code are written (`NATIVE_INT`). It ends when the socket is closed. Where several workers of a service share it,
each connects to another socket, on which it listens; when a worker is gone, its children are killed.

Handlers that libraries register for forks are not called: there are no threads here whose locks could be held, and the
handlers would touch, and so copy, 240 pages of memory in each child.
"""

import importlib
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from select import select

from qa_service.lab.environment import scrub_environment
from qa_service.lab.kernel import make_nondumpable
from qa_service.lab.worker import child_main

SERVER_CODE = """# numstab's forkserver
import os, sys, json, importlib.util as util
os.register_at_fork = lambda **_: None  # before anything registers
if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0])
package, control, listening, path, *preload = sys.argv[1:]
sys.path[:] = json.loads(path) if path else [folder for folder in sys.path if folder]  # not the working directory
spec = util.spec_from_file_location("qa_service", package + "/__init__.py", submodule_search_locations=[package])
module = sys.modules["qa_service"] = util.module_from_spec(spec)  # this package, and nothing beside it in its folder
spec.loader.exec_module(module)
from qa_service.lab.interpreter_server import serve_interpreters
serve_interpreters(int(control), int(listening), preload)
"""
READY_MESSAGE = b"ready\n"
"""Sent on each connection once the modules are imported."""
NATIVE_INT = struct.Struct("=i")
"""How a process id or an exit code is sent."""
_MAX_BATCH = 4096  # bytes of SIGCHLD notices read at once


def serve_interpreters(control: int, listening: int, preload: Sequence[str]) -> None:
    """Answer requests on the socket `control` until it is closed, and on connections to the socket `listening`, if that
    is not -1. A module of `preload` that is missing is left out.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which closes the socket
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with suppress(OSError):
        make_nondumpable()
    scrub_environment()
    for name in preload:
        with suppress(ImportError):
            importlib.import_module(name)
    sys.modules.pop("random", None)  # so that a demo's import seeds it: no handler does so after a fork
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _ForkServer(control, listening, woken).run()


class _ForkServer:
    """The state of the fork server, and the loop that answers its requests."""

    def __init__(self, control: int, listening: int, woken: int) -> None:
        """`control` and `listening` are descriptors of sockets, `woken` is that of the pipe from which each SIGCHLD is
        read.
        """
        self._control = socket.socket(fileno=control)
        self._listening = socket.socket(fileno=listening) if listening >= 0 else None
        self._woken = woken
        self._clients: dict[int, socket.socket] = {}
        self._children: dict[int, tuple[int, int]] = {}
        """Process id → descriptors of its status pipe and of the socket on which it was asked for."""

    def run(self) -> None:
        """Answer requests until the end of the process."""
        self._welcome(self._control)
        while True:
            listening = [] if self._listening is None else [self._listening.fileno()]
            readable, _, _ = select([*self._clients, *listening, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, _MAX_BATCH)
                self._report_exits()
            if self._listening is not None and self._listening.fileno() in readable:
                with suppress(OSError):
                    self._welcome(self._listening.accept()[0])
            for descriptor in readable:
                if descriptor in self._clients:
                    self._answer(self._clients[descriptor])

    def _welcome(self, client: socket.socket) -> None:
        client.sendall(READY_MESSAGE)
        self._clients[client.fileno()] = client

    def _answer(self, client: socket.socket) -> None:
        """Fork for the next request of a client, or remove a client that has disconnected."""
        message, descriptors = b"", list[int]()
        with suppress(OSError):
            message, descriptors, _, _ = socket.recv_fds(client, 1, 2)
        if message:
            pipe, status = descriptors
            self._children[_fork(pipe, status)] = status, client.fileno()
        elif client is self._control:
            os._exit(0)  # without finalising torch, which takes half a second
        else:
            for child, (_, asked_on) in self._children.items():
                if asked_on == client.fileno():
                    _kill(child)
            del self._clients[client.fileno()]
            client.close()

    def _report_exits(self) -> None:
        """Write the exit codes of children that have ended: negative for a signal."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if (child := self._children.pop(pid, None)) is not None:
                _write_number(child[0], os.waitstatus_to_exitcode(status))
                os.close(child[0])


def _kill(child: int) -> None:
    """Kill a child and whatever it has forked."""
    for send_signal in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            send_signal(child, signal.SIGKILL)


def _fork(pipe: int, status: int) -> int:
    """The id of a new child that works at the descriptor `pipe`."""
    pid = os.fork()
    if pid:
        os.close(pipe)
        _write_number(status, pid)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child_main(Connection(pipe))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _write_number(descriptor: int, number: int) -> None:
    with suppress(OSError):  # the service has forgotten the child
        os.write(descriptor, NATIVE_INT.pack(number))
