"""Context managers for processes and servers of tests: each is stopped when its block exits, also by an exception."""

import asyncio
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.ray_cluster import session_processes
from bench.server import free_port

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 180.0
"""The limit of every wait; a passing test needs much less, even on a machine under load."""
_SHUTDOWN_SECONDS = 30.0
_DETACH = (
    "import os, subprocess, sys\n"
    "process = subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=sys.stderr, stdin=subprocess.DEVNULL)\n"
    "print(process.pid, flush=True)\n"
    "os._exit(0)\n"
)
"""Starts a process that is nobody's child, so that it may outlive the worker that wanted it, and prints its pid."""


@contextmanager
def running(command: Sequence[str | bytes], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process in its own session; on exit terminate it, and kill what is left of the session."""
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
    """Send SIGTERM to the leader, wait up to 30 s, then send SIGKILL to the whole session.

    `wait` takes a number of seconds and may raise TimeoutExpired, like `Popen.wait`.
    """
    members = {leader, *session_processes(leader)}  # the leader may be reaped before its children have ended
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        wait(_SHUTDOWN_SECONDS)
    for pid in members | set(session_processes(leader)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        wait(_SHUTDOWN_SECONDS)


_IN_FORKS = """
import os, sys, traceback
{setup}
children = []
for _ in range({count}):
    if child := os.fork():
        children.append(child)
        continue
    try:
{body}
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def run_in_forks(setup: str, body: str, count: int) -> str:
    """Executes `body` in `count` forked processes at once and returns their output; fails if one of them raises.

    They are forked from a process that has executed `setup`, so that what they need is imported once.
    """
    code = _IN_FORKS.format(setup=setup, body=textwrap.indent(body, " " * 8), count=count)
    command = [sys.executable, "-c", code]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        out, err = parent.communicate(timeout=TIMEOUT_SECONDS)
        assert parent.returncode == 0, err
        return str(out)


@contextmanager
def running_threads(
    threads: Sequence[threading.Thread], let_end: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Start threads; at the end of the block call `let_end`, which ends what they wait for, and join them."""
    begun = []
    try:
        for thread in threads:
            thread.start()
            begun.append(thread)
        yield
    finally:
        let_end()
        for thread in begun:
            thread.join(_SHUTDOWN_SECONDS)


def until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS, why: Callable[[], object] = str) -> None:
    """Poll the condition until it is true; after `seconds` the test fails with the message `why()`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)


async def run_event_loop_turns(turns: int = 50) -> None:
    """Runs `turns` iterations of the event loop: its ready callbacks, and those that they schedule; does not sleep."""
    for _ in range(turns):
        await asyncio.sleep(0)


class TimeSkippingLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for timers: when it has nothing else to do, its clock jumps to the next timer.

    So an hour passes at once, and never too early on a machine under load. Not for tests that wait for other threads.
    """

    def __init__(self) -> None:
        self.skipped = 0.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        """The time in seconds, including the skipped time."""
        return super().time() + self.skipped


class _Skipping(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    """A selector that skips the time for which it would wait."""

    def __init__(self, loop: TimeSkippingLoop) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0 if timeout else timeout)
        if not ready and timeout:
            self.loop.skipped += timeout
        return ready


def run_async(
    coroutine: Coroutine[Any, Any, None], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> None:
    """Run a coroutine in a new thread and event loop, and raise what it raises; what takes too long is cancelled.

    Playwright leaves a running event loop in the main thread, where `asyncio.run` would therefore fail.
    """
    result: Future[None] = Future()
    cancel: list[Callable[[], object]] = []

    async def cancellable() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        await coroutine

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(cancellable())
        except BaseException as error:
            result.set_exception(error)
        else:
            result.set_result(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        result.result(TIMEOUT_SECONDS)
    except TimeoutError:
        for each in cancel:
            with suppress(RuntimeError):  # it has just ended
                each()
        raise
    finally:
        thread.join(_SHUTDOWN_SECONDS)


def status(address: str) -> int:
    """The status of a GET request; 0 if the connection fails."""
    try:
        return httpx.get(address, timeout=30).status_code
    except httpx.TransportError:
        return 0


@contextmanager
def numstab_server(
    env: Mapping[str, str], log: Path, *options: str, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[Any]]]:
    """Run `numstab serve` and wait until it is ready; yields its address and process. Output goes to `log`."""
    port = port or free_port()
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port), *options]
    with log.open("ab") as out, running(command, cwd=ROOT, env=os.environ | env, stdout=out, stderr=out) as server:
        address = f"http://127.0.0.1:{port}"
        until(lambda: server.poll() is not None or status(f"{address}/readyz") == 200, why=log.read_text)
        assert server.poll() is None, log.read_text()
        yield address, server


@contextmanager
def shared_server(env: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The address of a `numstab serve` shared by all xdist workers: the first starts it, the last stops it.

    Each worker holds a shared lock on the file `users`; the one that can turn it into an exclusive lock is the last.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("w") as users:
        with _exclusive_lock(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            record = folder / "server.json"
            server = json.loads(record.read_text()) if record.exists() else None
            if server is None or status(f"{server['address']}/readyz") != 200:
                server = _start_server(env, folder)
                record.write_text(json.dumps(server))
        try:
            yield server["address"]
        finally:
            with _exclusive_lock(folder):
                fcntl.flock(users, fcntl.LOCK_UN)
                with suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    record.unlink(missing_ok=True)
                    _stop_detached(server["pid"])


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_server(env: Mapping[str, str], folder: Path) -> dict[str, Any]:
    log = folder / "log"
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]
    with log.open("ab") as out:
        started = subprocess.run(
            [sys.executable, "-c", _DETACH, *command], check=True, cwd=ROOT, env=os.environ | env,
            stdout=subprocess.PIPE, stderr=out,
        )  # fmt: skip
    pid = int(started.stdout)
    try:
        until(lambda: _has_ended(pid) or status(f"{address}/readyz") == 200, why=log.read_text)
        assert not _has_ended(pid), log.read_text()
    except BaseException:
        _stop_detached(pid)
        raise
    return {"address": address, "pid": pid}


def _stop_detached(pid: int) -> None:
    def wait(seconds: float) -> None:
        with suppress(AssertionError):
            until(lambda: _has_ended(pid), seconds)

    stop(pid, wait)


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with suppress(OSError):  # where there is no /proc
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
