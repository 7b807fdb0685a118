"""Replies of a server that are not valid answers: clients of `connect` raise one kind of error with an explanation."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import numstab
from numstab import remote


@pytest.fixture
def replying() -> Iterator[Callable[..., str]]:
    """A function that starts a server whose every reply is the same, and returns its address."""
    servers = []

    def start(body: bytes, status: int = 200, length: int | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    try:
        yield start
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 200_000, 200),
        (b"<html>", 200),
        (b"", 200),
        (b"[" * 200_000, 500),
        (b"[1, 2]", 502),
        (b"\xff\xfe", 503),
    ],
)
def test_a_reply_that_is_no_answer_is_an_error_of_the_server(replying, body, status):
    with pytest.raises(remote.ServerError):
        numstab.connect(replying(body, status)).entries()


def test_a_reply_that_is_cut_off_is_an_error_of_the_server(replying):
    with pytest.raises(remote.ServerError):
        numstab.connect(replying(b'[{"id": ', length=5_000)).entries()


def test_a_reply_that_is_too_large_is_not_read_to_its_end(replying, monkeypatch):
    monkeypatch.setattr(remote, "MAX_REPLY_BYTES", 1_000)
    assert numstab.connect(replying(b"[" + b" " * 900 + b"]")).entries() == []
    with pytest.raises(remote.ServerError, match="too large"):
        numstab.connect(replying(b"[" + b" " * 1_100 + b"]")).entries()
