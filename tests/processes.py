"""Processes and servers that tests start; each is ended when its block ends, however that ends."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.server import free_port

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 180.0
"""A guard against waiting for ever; what is right is there much sooner, even on a machine under load."""
_SHUTDOWN_SECONDS = 30.0
_SHARED: list[subprocess.Popen[Any]] = []
"""Servers that this worker has started for all: they go on when the worker that started them has done its part."""


@contextmanager
def running(command: Sequence[str | bytes], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that leads a session of its own. At the end it is told to stop, and what is left of its session is
    killed.
    """
    process: subprocess.Popen[Any] = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        stop(process.pid, process.wait)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def stop(leader: int, wait: Callable[[float], object]) -> None:
    """SIGTERM, a moment to end, then SIGKILL to all of the session; `wait` raises TimeoutExpired like Popen's."""
    members = {leader, *session(leader)}  # a group's leader may be reaped before its children are gone
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        wait(_SHUTDOWN_SECONDS)
    for pid in members | set(session(leader)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        wait(_SHUTDOWN_SECONDS)


def session(leader: int) -> dict[int, str]:
    """Process → its command, of those that the leader's session holds; without zombies (Linux)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, _, _, of, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(of) == leader and state != "Z":
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
    return found


def until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS, why: Callable[[], object] = str) -> None:
    """Waits for the condition; a test fails with `why` after a time that no machine needs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)


def run_async(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs the coroutine to its end in an event loop and a thread of its own: the browser's driver, once used, leaves a
    loop running in the thread of the tests. Raises what the coroutine raises.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(coroutine))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    done.result(TIMEOUT_SECONDS)


def status(address: str) -> int:
    """The HTTP status there; 0 where nobody listens."""
    try:
        return httpx.get(address, timeout=30).status_code
    except httpx.TransportError:
        return 0


@contextmanager
def numstab_server(
    env: Mapping[str, str], log: Path, *options: str, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[Any]]]:
    """`numstab serve` once it is ready: its address and its process; what it says is in `log`."""
    port = port or free_port()
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port), *options]
    with log.open("ab") as out, running(command, cwd=ROOT, env=os.environ | env, stdout=out, stderr=out) as server:
        address = f"http://127.0.0.1:{port}"
        until(lambda: server.poll() is not None or status(f"{address}/readyz") == 200, why=log.read_text)
        assert server.poll() is None, log.read_text()
        yield address, server


@contextmanager
def shared_server(env: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The address of a `numstab serve` that all workers of pytest-xdist share: the first starts it, the last ends it.

    Every worker holds a shared lock on `users` meanwhile; who gets it exclusively is the last.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("w") as users:
        with _alone(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            known = folder / "server.json"
            server = json.loads(known.read_text()) if known.exists() else None
            if server is None or status(f"{server['address']}/readyz") != 200:
                server = _started(env, folder)
                known.write_text(json.dumps(server))
        try:
            yield server["address"]
        finally:
            with _alone(folder):
                fcntl.flock(users, fcntl.LOCK_UN)
                with suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    known.unlink(missing_ok=True)
                    stop(server["pid"], lambda seconds: until(lambda: not session(server["pid"]), seconds))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _started(env: Mapping[str, str], folder: Path) -> dict[str, Any]:
    log = folder / "log"
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]
    with log.open("ab") as out:
        server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | env, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    _SHARED.append(server)
    try:
        until(lambda: server.poll() is not None or status(f"{address}/readyz") == 200, why=log.read_text)
        assert server.poll() is None, log.read_text()
    except BaseException:
        stop(server.pid, server.wait)
        raise
    return {"address": address, "pid": server.pid}
