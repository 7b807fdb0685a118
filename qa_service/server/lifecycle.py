"""A server of many readers: where it may listen, and how it ends without losing an answer half told."""

import fcntl
import gc
import ipaddress
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from qa_service.errors import BadField
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.streaming import CLOSING
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

SHUTDOWN_GRACE = 10
"""Seconds that running answers have to finish once the server is told to stop."""


def open_to_all(host: str, settings: Settings, *, public: bool) -> bool:
    """Whether everybody who reaches the address may ask; raises `BadField` where nobody could.

    On this machine's own address, yes. On any other only with a key, or where the operator says --public.
    """
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if local or public:
        return True
    if not ApiKeyStore(settings.data):
        raise BadField(
            zh=f"{host} 不是本机地址：先用 `numstab keys add NAME` 发一个密钥，或者用 --public 明确对所有人开放",
            en=f"{host} is not this machine's own address: make a key first (numstab keys add NAME), or say --public "
            "to let everybody in",
            field="--host",
        )
    return False


def serve(app: "FastAPI", settings: Settings, **options: Any) -> None:
    """Runs until it is told to stop; whoever listens to an answer then has `GRACE` seconds to hear its end."""
    import uvicorn

    uvicorn.run(app, **_options(settings), **options)


def serve_many(app: str, settings: Settings, **options: Any) -> None:
    """The same with several workers, each of which makes its own `app`; a SIGHUP is handed on to them all."""
    import uvicorn
    from uvicorn.supervisors.multiprocess import Multiprocess

    class Supervisor(Multiprocess):
        def handle_hup(self) -> None:
            for process in self.processes:
                if process.pid is not None and process.is_ready(timeout=1):
                    os.kill(process.pid, signal.SIGHUP)

    config = uvicorn.Config(app, factory=True, **_options(settings), **options)
    Supervisor(config, sockets=[config.bind_socket()]).run()


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "access_log": False,
        "log_config": None,  # logs.set_up says where lines go
        "proxy_headers": bool(settings.proxies),
        "forwarded_allow_ips": settings.proxies or "127.0.0.1",
        "timeout_graceful_shutdown": SHUTDOWN_GRACE,
        "timeout_keep_alive": 15,
        "timeout_worker_healthcheck": 60,  # one that trains on a busy machine is slow to say so, not dead
        "server_header": False,
    }


def worker_index(shared: Path) -> int:
    """A worker's number, 0 for the first; one that takes the place of a dead worker gets its number."""
    for number in count():
        lock = os.open(shared / f"worker-{number}", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return number  # the descriptor stays open, and so the lock is held, for as long as we live
    raise AssertionError


def share_of(whole: int, workers: int, number: int) -> int:
    """A worker's part of what all have together; at least one, or it could run nothing."""
    return max(1, whole // workers + (number % workers < whole % workers))


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """A lifespan: told to stop, it first tells the running streams, each of which ends within the grace time.

    A SIGHUP reads kb and demos again; but where it says that our terminal is gone, we go too.
    """
    import uvicorn

    terminal = sys.stdin is not None and sys.stdin.isatty()
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def close(number: int, frame: FrameType | None) -> None:
        CLOSING.within(SHUTDOWN_GRACE - 2)
        handler = before[signal.Signals(number)]
        server = getattr(handler, "__self__", None)
        if number == signal.SIGTERM and isinstance(server, uvicorn.Server):
            server.should_exit = True  # uvicorn would raise the signal once more at its end: no temporary file would go
        elif callable(handler):
            handler(number, frame)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        if terminal and not os.isatty(0):
            signal.raise_signal(signal.SIGTERM)
        else:
            app.state.reloading.soon()

    gc.collect()
    gc.freeze()  # entries, vectors and routes live as long as the server: no collection looks at them again
    try:
        for each in before:
            signal.signal(each, close)
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    except ValueError:  # not the main thread: whoever runs the application there ends it there
        before = {}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
    with suppress(Exception):  # a collector that has gone holds nobody up
        app.state.traces.close()
