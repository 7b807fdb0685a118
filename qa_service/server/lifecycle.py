"""Running the HTTP server: access without keys, workers, memory, signals, and graceful shutdown."""

import asyncio
import ctypes
import gc
import ipaddress
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from qa_service.errors import BadField, StoreUnavailable
from qa_service.lab.kernel import drop_library_pages, make_nondumpable
from qa_service.retrieval.array_file import drop_mapped_files
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.priority import TextPriority
from qa_service.server.streaming import ShutdownDeadline
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

_M_ARENA_MAX = -8  # a parameter of mallopt, from malloc.h
QUIET_SECONDS = 3.0
"""The time without a question after which memory is returned to the operating system."""
PAUSE_SECONDS = 0.05
"""The time without a pending text after which a worker releases what only the next text needs."""
SHUTDOWN_GRACE = 10
"""Seconds that running answers have to end after a signal to stop."""


def is_public(host: str, settings: Settings, *, public: bool) -> bool:
    """Whether clients need no key: `host` is a loopback address, or --public was given.

    Raises `BadField` if keys are needed and none exists.
    """
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if local or public:
        return True
    try:
        with closing(ApiKeyStore.of(settings)) as keys:
            has_keys = bool(keys.all())
    except StoreUnavailable:  # keys are checked once the store can be reached
        has_keys = True
    if not has_keys:
        raise BadField(
            zh=f"{host} 不是本机地址：先用 `numstab keys add NAME` 发一个密钥，或者用 --public 明确对所有人开放",
            en=f"{host} is not this machine's own address: make a key first (numstab keys add NAME), or say --public "
            "to let everybody in",
            field="--host",
        )
    return False


def limit_malloc_arenas() -> None:
    """Limits glibc's malloc to one arena (M_ARENA_MAX); must be called before any thread is started.

    By default each thread has an arena of its own, which keeps the memory freed in it: 30 MiB in a server. There is
    hardly any contention for one arena, because threads hold the GIL while they allocate.
    """
    if sys.platform.startswith("linux"):
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def trim_memory() -> None:
    """Returns free memory to the operating system: freed heap (8 MiB after 200 questions) and pages of mapped files.

    The latter hold the classifier, the encoder, and code that ran once; the kernel's page cache still has them.
    """
    gc.collect()
    if sys.platform.startswith("linux"):
        with suppress(AttributeError):  # another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)
    drop_library_pages("r-xp", "r--p")
    drop_mapped_files(also_in_small_pages=True)


def unload_mapped_files() -> None:
    """Unmap classifier and encoder, 70 MiB of a worker, in a thread; the next text has them again in 0.2 ms."""
    asyncio.get_running_loop().run_in_executor(None, drop_mapped_files)


async def trim_memory_when_idle(text_priority: TextPriority) -> None:
    """Calls `trim_memory` once in each period without questions, also before the first; runs until cancelled."""
    begun, trimmed_at = text_priority.texts_begun, -1
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        if text_priority.texts_begun == begun != trimmed_at and not text_priority.is_pending:
            await asyncio.to_thread(trim_memory)
            trimmed_at = begun
        begun = text_priority.texts_begun


def serve(app: "FastAPI", settings: Settings, **options: Any) -> None:
    """Serves until SIGTERM or SIGINT; running answers then have `SHUTDOWN_GRACE` seconds to end."""
    import uvicorn

    uvicorn.run(app, **uvicorn_options(settings), **options)


def serve_many(app: str, settings: Settings, **options: Any) -> None:
    """Like `serve`, with several worker processes; each calls the factory `app` ("module:function").

    The supervisor passes a SIGHUP on to all workers.
    """
    import uvicorn
    from uvicorn.supervisors.multiprocess import Multiprocess

    class Supervisor(Multiprocess):
        def handle_hup(self) -> None:
            for process in self.processes:
                if process.pid is not None and process.is_ready(timeout=1):
                    os.kill(process.pid, signal.SIGHUP)

    make_nondumpable()
    config = uvicorn.Config(app, factory=True, **uvicorn_options(settings), **options)
    Supervisor(config, sockets=[config.bind_socket()]).run()


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """The options of uvicorn."""
    from qa_service.server.connections import BACKLOG, LimitedConnection

    return {
        "http": LimitedConnection,
        "ws": "none",  # no front has a WebSocket
        "backlog": BACKLOG,
        "access_log": False,
        "log_config": None,  # `configure_logging` has set up the handlers
        "proxy_headers": bool(settings.proxies),
        "forwarded_allow_ips": settings.proxies or "127.0.0.1",
        "timeout_graceful_shutdown": SHUTDOWN_GRACE,
        "timeout_keep_alive": 15,
        "timeout_worker_healthcheck": 60,  # a worker that trains on a busy machine answers late
        "server_header": False,
    }


def end_with_supervisor() -> None:
    """Sends this worker SIGTERM once its supervisor has died; otherwise it would go on serving, and occupy the port."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        threading.Thread(target=_end_after, args=(supervisor,), daemon=True, name="supervisor").start()


def _end_after(supervisor: Any) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN_GRACE + 5)
    os.kill(os.getpid(), signal.SIGKILL)


def worker_index(shared: Path) -> tuple[int, FileLock]:
    """The index of this worker, from 0, and the lock that reserves it; `shared` is a folder common to all workers.

    A worker that replaces a dead one takes over its index.
    """
    for index in count():
        lock = FileLock(shared / f"worker-{index}")
        with suppress(Timeout):
            lock.acquire(blocking=False)
            return index, lock
    raise AssertionError


def worker_share(whole: int, workers: int, index: int) -> int:
    """The share of worker `index` in a limit for all workers together, at least 1."""
    return max(1, whole // workers + (index % workers < whole % workers))


@contextmanager
def handle_signals(shutdown: ShutdownDeadline, reload: Callable[[], None]) -> Iterator[None]:
    """Handles signals during the block: SIGTERM and SIGINT first set the deadline of streams, SIGHUP calls `reload`.

    A SIGHUP because the controlling terminal was closed counts as SIGTERM. Does nothing outside the main thread.
    """
    import uvicorn

    terminal = sys.stdin is not None and sys.stdin.isatty()
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        shutdown.set(SHUTDOWN_GRACE - 2)
        handler = before[signal.Signals(number)]
        server = getattr(handler, "__self__", None)
        if number == signal.SIGTERM and isinstance(server, uvicorn.Server):
            server.should_exit = True  # uvicorn's handler would raise it again at the end: temporary files would remain
        elif callable(handler):
            handler(number, frame)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        if terminal and not os.isatty(0):
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    try:
        for each in before:
            signal.signal(each, stop)
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    except ValueError:  # not the main thread
        before = {}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
