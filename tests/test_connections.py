"""Connections that delay their requests, too many connections, request bodies in too many pieces, and asyncio's log."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import uvicorn
from processes import TIMEOUT_SECONDS, until

from bench.server import free_port
from qa_service.server import connections
from qa_service.server.lifecycle import uvicorn_options
from qa_service.settings import Settings
from qa_service.telemetry.logging import RepeatFilter

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def count_body(scope, receive, send) -> None:
    """An ASGI application that replies with the number of bytes of the body; at /held it waits for the test's
    permission.
    """
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/held":
        HELD.release()
        while not LET_GO.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


HELD, LET_GO = threading.Semaphore(0), threading.Event()


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server with the options of `numstab serve`."""
    LET_GO.clear()
    server = uvicorn.Server(uvicorn.Config(count_body, port=(port := free_port()), lifespan="off",
                                           **uvicorn_options(Settings())))  # fmt: skip
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield port
    finally:
        LET_GO.set()
        server.should_exit = True
        thread.join(30)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)


def reply(client: socket.socket) -> bytes:
    """Reads one whole reply with a body."""
    received = b""
    while not received.partition(b"\r\n\r\n")[2]:
        received += (more := client.recv(1000))
        assert more, received
    return received


def closed(client: socket.socket) -> bool:
    """Waits until the connection is closed; False if bytes arrive instead."""
    try:
        return client.recv(1000) == b""
    except ConnectionResetError:
        return True


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
@pytest.mark.parametrize("first", [True, False])
def test_a_connection_that_waits_with_its_request_is_closed(port, monkeypatch, begun, first):
    """The limit holds before the first request and within the headers of any request; uvicorn alone waits for ever."""
    if first:
        monkeypatch.setattr(connections, "HEADER_TIMEOUT_SECONDS", 0.3)
    with connect(port) as client:
        if not first:
            client.sendall(GET)
            assert reply(client).startswith(b"HTTP/1.1 200")
            monkeypatch.setattr(connections, "HEADER_TIMEOUT_SECONDS", 0.3)  # not before: also a busy machine replies
        client.sendall(begun)
        assert closed(client)


def test_a_request_in_progress_may_last(port, monkeypatch):
    """The time limit of a second request starts with its first byte, and one that is being answered is not cut off."""
    with connect(port) as client:
        client.sendall(GET)
        assert reply(client).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(connections, "HEADER_TIMEOUT_SECONDS", 0.2)
        client.sendall(GET.replace(b"/ ", b"/held "))
        assert HELD.acquire(timeout=TIMEOUT_SECONDS)
        with connect(port) as other:
            assert closed(other)  # so the time has passed
        LET_GO.set()
        assert reply(client).startswith(b"HTTP/1.1 200")


def test_idle_connections_displace_only_each_other(port, monkeypatch):
    """Beyond the limit the longest idle connection is closed; active requests and new connections are served."""
    monkeypatch.setattr(connections, "max_connections", lambda: 5)
    monkeypatch.setattr(connections, "HEADER_TIMEOUT_SECONDS", 2 * TIMEOUT_SECONDS)
    with ExitStack() as stack:
        busy = stack.enter_context(connect(port))
        busy.sendall(GET.replace(b"/ ", b"/held "))
        assert HELD.acquire(timeout=TIMEOUT_SECONDS)
        idle = [stack.enter_context(connect(port)) for _ in range(20)]
        assert all(closed(each) for each in idle[:16])
        new = stack.enter_context(connect(port))
        new.sendall(GET)
        assert reply(new).startswith(b"HTTP/1.1 200")
        LET_GO.set()
        assert reply(busy).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("chunks", "status"), [(5_000, b"200"), (50_000, b"400")])
def test_a_body_in_too_many_pieces_is_refused(port, chunks, status):
    """A million chunks of one byte kept the server busy for seconds."""
    with connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            client.sendall(b"1\r\nx\r\n" * chunks + b"0\r\n\r\n")
        except (ConnectionResetError, BrokenPipeError):
            assert status == b"400"
            return
        assert reply(client).startswith(b"HTTP/1.1 " + status)


def test_the_limit_of_connections_leaves_descriptors_for_the_rest():
    """At `ulimit -n 1024` connections once took all descriptors, with none left for accepting, child processes and
    files.
    """
    import resource

    limit = connections.max_connections()
    assert limit <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - connections.BACKLOG


def test_asyncio_logs_in_our_form_once_for_many(log):
    """A thousand connections that cannot be accepted give one line in the log, not a thousand tracebacks."""
    lines = log()
    for number in range(1000):
        try:
            raise OSError(24, "Too many open files")
        except OSError as error:
            message = f"socket.accept() out of system resource\nsocket: {number}"
            logging.getLogger("asyncio").error(message, exc_info=error)  # noqa: TRY400
    (line,) = lines()
    assert line.startswith("time=")
    assert "out of system resource" in line
    assert "error=OSError" in line


def test_a_line_says_how_many_were_left_out_whatever_came_between(monkeypatch):
    """The count of suppressed lines appears a minute later, also if another message came in between."""
    seconds = 0.0
    monkeypatch.setattr("qa_service.telemetry.logging.time", SimpleNamespace(monotonic=lambda: seconds))
    repeats = RepeatFilter()

    def logged(message: str) -> logging.LogRecord | None:
        record = logging.LogRecord("asyncio", logging.ERROR, "", 0, message, None, None)
        return record if repeats.filter(record) else None

    assert logged("accept failed")
    assert [logged("accept failed") for _ in range(3)] == [None] * 3
    seconds = 60.0
    assert logged("another").about == {"left_out": None}
    assert logged("accept failed").about == {"left_out": 3}
    seconds = 120.0
    assert logged("accept failed").about == {"left_out": None}
