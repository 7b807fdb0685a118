"""The fork server: in a Python that has torch, it forks a child for each request.

Only the standard library and what a child needs of `qa_service` are imported here; that Python may be another one
(NUMSTAB_PYTHON) with nothing of ours installed. `START` is the code that it is started with. Requests come over a Unix
socket, each with two descriptors: the child's end of its pipe, and where its process id and, later, its exit code are
written (`NUMBER`). It ends when the socket is closed.
"""

import importlib
import os
import signal
import socket
import struct
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from select import select

from qa_service.lab.environment import scrub_environment
from qa_service.lab.kernel import close_to_other_processes

START = """# numstab's forkserver
import sys, json, importlib.util as util
if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0])
package, control, path, *preload = sys.argv[1:]
sys.path[:] = json.loads(path) if path else [folder for folder in sys.path if folder]  # not the working directory
spec = util.spec_from_file_location("qa_service", package + "/__init__.py", submodule_search_locations=[package])
module = sys.modules["qa_service"] = util.module_from_spec(spec)  # this package, and nothing beside it in its folder
spec.loader.exec_module(module)
from qa_service.lab.interpreter_server import serve
serve(int(control), preload)
"""
READY = b"ready\n"
"""What is sent once the modules are imported."""
NUMBER = struct.Struct("=i")
"""How a process id or an exit code is sent."""
_MAX_BATCH = 4096  # bytes of SIGCHLD notices read at once


def serve(control: int, preload: Sequence[str]) -> None:
    """Answer requests on the socket `control` until it is closed. A module of `preload` that is missing is left out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which closes the socket
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with suppress(OSError):
        close_to_other_processes()
    scrub_environment()
    for name in preload:
        with suppress(ImportError):
            importlib.import_module(name)
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    with socket.socket(fileno=control) as requests:
        requests.sendall(READY)
        while True:
            readable, _, _ = select([requests.fileno(), woken], [], [])
            if woken in readable:
                os.read(woken, _MAX_BATCH)
                _report_exits(statuses)
            if requests.fileno() in readable:
                message, descriptors, _, _ = socket.recv_fds(requests, 1, 2)
                if not message:
                    os._exit(0)  # at once: taking torch apart takes half a second
                pipe, status = descriptors
                statuses[_fork(pipe, status)] = status


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
        from qa_service.lab.worker import child_main

        child_main(Connection(pipe))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _report_exits(statuses: dict[int, int]) -> None:
    """Write the exit codes of children that have ended: negative for a signal."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if (descriptor := statuses.pop(pid, None)) is not None:
            _write_number(descriptor, os.waitstatus_to_exitcode(status))
            os.close(descriptor)


def _write_number(descriptor: int, number: int) -> None:
    with suppress(OSError):  # the service has forgotten the child
        os.write(descriptor, NUMBER.pack(number))
