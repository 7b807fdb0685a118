"""A server of many readers: where it may listen, and how it ends without losing an answer half told."""

import gc
import ipaddress
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from qa_service.access import Keys
from qa_service.errors import BadField
from qa_service.settings import Settings
from qa_service.streaming import CLOSING

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE = 10
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
    if not Keys(settings.data):
        raise BadField(
            zh=f"{host} 不是本机地址：先用 `numstab keys add NAME` 发一个密钥，或者用 --public 明确对所有人开放",
            en=f"{host} is not this machine's own address: make a key first (numstab keys add NAME), or say --public "
            "to let everybody in",
            field="--host",
        )
    return False


def serve(app: "FastAPI | str", settings: Settings, **options: Any) -> None:
    """Runs until it is told to stop; whoever listens to an answer then has `GRACE` seconds to hear its end."""
    import uvicorn

    uvicorn.run(
        app,
        access_log=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies or "127.0.0.1",
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=15,
        server_header=False,
        **options,
    )


@asynccontextmanager
async def closing_in_time(_app: Any) -> AsyncIterator[None]:
    """A lifespan: told to stop, it first tells the running streams, each of which ends within the grace time."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def close(number: int, frame: FrameType | None) -> None:
        CLOSING.within(GRACE - 2)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    gc.collect()
    gc.freeze()  # entries, vectors and routes live as long as the server: no collection looks at them again
    try:
        for each in before:
            signal.signal(each, close)
    except ValueError:  # not the main thread: whoever runs the application there ends it there
        before = {}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
