"""Faults injected into a running server: each has its documented effect, and the next request succeeds."""

import json
import os
import signal
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import TIMEOUT_SECONDS, until

from bench.server import Server, free_port, run_server
from qa_service.app import create_app
from qa_service.lab.interpreter import Interpreter
from qa_service.lab.runner import ProcessRunner
from qa_service.model import RunStatus
from qa_service.settings import Settings
from qa_service.store import Store

TOYS = Path(__file__).resolve().parent / "toys"
ANSWER = "01K0000000000000000000000A"
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are watched through /proc")


@pytest.fixture(scope="module")
def env(cache: Path) -> dict[str, str]:
    return {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
            "NUMSTAB_RATE": "", "NUMSTAB_DEADLINE": "40", "NUMSTAB_MEMORY": "1024"}  # fmt: skip


@pytest.fixture
def server(toy_server: Server) -> Server:
    return toy_server


def run(server: Server, slug: str, **body: object) -> dict:
    status, evidence = server.post(f"/experiments/{slug}/runs", body)
    assert status == 200, evidence
    return evidence


@pytest.mark.parametrize(
    ("slug", "status"),
    [("killed", "crashed"), ("segfaults", "crashed"), ("exhausts", "out_of_memory"),
     pytest.param("hangs", "timed_out", marks=pytest.mark.exhaustive),  # waits for the deadline

     ("forks", "raised"), ("garbage", "raised"), ("floods", "raised"), ("exits", "crashed")],
)  # fmt: skip
def test_failing_demo_is_evidence_over_http(server, slug, status):
    """The reply is 200 with the run's status and note; the next run succeeds."""
    evidence = run(server, slug)
    assert (evidence["status"], bool(evidence["note"])) == (status, True)
    assert run(server, "counts", seed=time.monotonic_ns())["status"] == "ran"


@pytest.mark.parametrize("route", ["/runs/stream", "/runs"])
def test_disconnecting_cancels_the_run(server, route):
    """Streaming or not, the child is killed long before the deadline."""
    run(server, "counts")
    _assert_disconnect_kills_the_child(server, route)


@pytest.mark.parametrize("abruptly", [False, True])
@pytest.mark.parametrize(
    ("route", "sent", "received"), [("/runs/stream", 4, ""), ("/runs/stream", None, "event: row"), ("/runs", None, "")]
)
def test_disconnecting_is_not_an_error(server, route, sent, received, abruptly):
    """While sending the request, receiving events or waiting: the access log has its line, and no error."""
    before = server.log.read_text().count("message=request")
    body = b'{"seed": %d, "params": {"steps": 1000}}' % time.monotonic_ns()
    head = f"POST /api/v1/experiments/sleeps{route} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS) as client:
        client.sendall(head.encode() + body[:sent])
        while received.encode() not in client.recv(65536) if received else False:
            pass
        if abruptly:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: server.log.read_text().count("message=request") > before)
    log = server.log.read_text()
    assert "unforeseen" not in log
    assert "Traceback" not in log


def _assert_disconnect_kills_the_child(server: Server, route: str) -> None:
    """The demo sends one row and then nothing until its deadline, so no later row reveals the disconnect."""
    body = b'{"seed": %d}' % time.monotonic_ns()
    head = f"POST /api/v1/experiments/hangs{route} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    until(lambda: len(_children(server)) == _idle_count())
    idle = _children(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS) as client:
        client.sendall(head.encode() + body)
        if route.endswith("stream"):
            received = b""
            while b"event: row" not in received:
                received += client.recv(65536)
        # An idle child has taken the run, and another has been forked in its place.
        until(lambda: len(_children(server)) > _idle_count())
    until(lambda: bool(idle - _children(server)), seconds=60)


def _idle_count() -> int:
    """How many idle children a server keeps."""
    return os.cpu_count() or 1


def _forkservers(server: Server) -> list[int]:
    """The fork servers: processes with a fork server's command line whose parent has another one."""
    return [pid for pid in server.processes() if _is_forked(server, pid) and not _is_forked(server, _parent(pid))]


def _forked(server: Server) -> set[int]:
    """The children of all fork servers."""
    return {pid for pid in server.processes() if _is_forked(server, pid) and _is_forked(server, _parent(pid))}


def _forkserver(server: Server) -> int:
    """The fork server, the parent of all children."""
    (found,) = _forkservers(server)
    return found


def _children(server: Server) -> set[int]:
    parent = _forkserver(server)
    return {pid for pid in server.processes() if _parent(pid) == parent}


def _is_forked(server: Server, pid: int) -> bool:
    return "forkserver" in server.processes().get(pid, "")


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def test_killed_fork_server_is_restarted(server):
    """The next run starts a single new one and succeeds; the old process is gone."""
    before = _forkserver(server)
    os.kill(before, signal.SIGKILL)
    until(lambda: before not in server.processes())  # a busy machine takes a while, and then its children die in a run
    assert run(server, "counts", seed=time.monotonic_ns())["status"] == "ran"
    # The run may have been executed by an idle child, so the new fork server may start a little later.
    until(lambda: len(_forkservers(server)) == 1)


@pytest.mark.server
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_the_fork_server_of_all_workers_is_killed_in_mid_run(env, tmp_path, times):
    """Interrupted runs are `crashed`, in replies of status 200; later runs succeed, and texts are answered. Children
    end with their server, and no process is left when the service ends.
    """
    settings = env | {"NUMSTAB_DATA": str(tmp_path), "NUMSTAB_SLOTS": "4"}
    with run_server(settings, workers=2) as server, ThreadPoolExecutor(4) as clients:
        for _ in range(times):  # the server that the workers share, then those that they have started instead
            with ExitStack() as stack:
                streams = [stack.enter_context(_sleeping(server)) for _ in range(2)]
                servers, children = set(_forkservers(server)), _forked(server)
                for each in servers:
                    os.kill(each, signal.SIGKILL)
                for status, lines in streams:
                    *_, last = (line for line in lines if line.startswith("data: "))
                    assert (status, json.loads(last.removeprefix("data: "))["status"]) == (200, "crashed")
            first = time.monotonic_ns()
            replies = list(clients.map(lambda seed: run(server, "counts", seed=seed), range(first, first + 12)))
            assert {evidence["status"] for evidence in replies} == {"ran"}
            assert server.post("/ask", {"question": "counting numbers one", "run": False})[0] == 200
            until(lambda gone=servers | children: not gone & server.processes().keys())
        workers = {pid for pid in server.processes() if _parent(pid) == server.process.pid}
        assert {_parent(pid) for pid in _forkservers(server)} <= workers
        server.process.terminate()
        server.process.wait(TIMEOUT_SECONDS)
        until(lambda: not server.processes())
        assert "Traceback" not in server.log.read_text()


@contextmanager
def _sleeping(server: Server) -> Iterator[tuple[int, Iterator[str]]]:
    """Starts a long run; returns the reply's status and the lines of its stream after the first row."""
    body = {"params": {"steps": 100_000}, "seed": time.monotonic_ns()}
    route = f"http://127.0.0.1:{server.port}/api/v1/experiments/sleeps/runs/stream"
    with httpx.stream("POST", route, json=body, timeout=TIMEOUT_SECONDS) as response:
        lines = response.iter_lines()
        next(line for line in lines if line.startswith("event: row"))
        yield response.status_code, lines


@pytest.mark.exhaustive
def test_fork_server_does_not_leak(server):
    """Over forty runs it grows by less than 4 MiB and at most one file descriptor."""
    run(server, "counts", seed=time.monotonic_ns())
    until(lambda: len(_children(server)) == _idle_count())
    before = _memory_and_descriptors(_forkserver(server))
    for _ in range(40):
        run(server, "counts", seed=time.monotonic_ns())
    until(lambda: len(_children(server)) == _idle_count())
    after = _memory_and_descriptors(_forkserver(server))
    assert after[0] - before[0] < 4 << 10, (before, after)
    assert after[1] <= before[1] + 1


def _memory_and_descriptors(pid: int) -> tuple[int, int]:
    """Resident memory in KiB, and the number of open descriptors, which only root sees: 0 for others."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    with suppress(PermissionError):
        return int(status["VmRSS"].split()[0]), len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(status["VmRSS"].split()[0]), 0


def test_failing_fork_is_evidence(monkeypatch, toy_experiments):
    """The run is `crashed` with the reason of the OSError; its slot is released, and the next run succeeds."""
    lab = ProcessRunner(deadline=20.0, memory=1024, slots=1)
    experiment = toy_experiments["counts"]

    def fail(_self: Interpreter) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(Interpreter, "spawn", fail)
        failed = lab.run(experiment, {"steps": 1})
    assert (failed.status, "temporarily unavailable" in failed.note.en) == (RunStatus.CRASHED, True)
    assert lab.run(experiment, {"steps": 1}).status is RunStatus.RAN


@pytest.mark.server
@pytest.mark.exhaustive
def test_killed_server_keeps_acknowledged_feedback(env, tmp_path):
    """SIGKILL during a run: its children end with it, and a new server on the same data has the feedback."""
    settings = env | {"NUMSTAB_DATA": str(tmp_path)}
    with run_server(settings) as server:
        for number in range(10):
            assert server.post("/feedback", {"answer_id": ANSWER, "helpful": True, "reason": str(number)})[0] == 201
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS) as client:
            body = b'{"params": {"steps": 100000}}'
            head = "POST /api/v1/experiments/sleeps/runs/stream HTTP/1.1\r\nHost: x\r\nContent-Length: "
            client.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
            while b"event: row" not in client.recv(65536):
                pass
            server.process.kill()
            until(lambda: not server.processes())
    with run_server(settings) as server:
        assert server.post("/feedback", {"answer_id": ANSWER, "helpful": False})[0] == 201
    stored = _feedback(tmp_path)
    assert [reason for _, _, reason in stored] == [*map(str, range(10)), None]


def _feedback(data: Path) -> list[tuple[str, bool, str | None]]:
    store = Store(Settings(data=data).store_url)
    try:
        return store.feedback()
    finally:
        store.close()


@pytest.mark.server
@pytest.mark.exhaustive
def test_full_disk_loses_no_acknowledged_feedback(env, tmp_path):
    """With files limited to 256 KiB, feedback is 503 at some point; questions are still answered."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))"
    acknowledged = []
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path)}, before=limit) as server:
        for number in range(200):
            status, reply = server.post(
                "/feedback", {"answer_id": ANSWER, "helpful": True, "reason": f"{number} " * 400}
            )
            assert status in (201, 503), reply
            if status == 201:
                acknowledged.append(f"{number} " * 400)
            else:
                assert reply["code"] == "store_unavailable"
                break
        else:
            pytest.fail("the disk never filled")
        status, answer = server.post("/ask", {"question": "counting numbers one"})
        assert (status, answer["evidence"][0]["status"]) == (200, "ran")
    assert acknowledged
    assert set(acknowledged) <= {reason for _, _, reason in _feedback(tmp_path)}


@pytest.mark.server
@pytest.mark.exhaustive
def test_locked_store_is_503_for_feedback_only(env, tmp_path):
    """Feedback gets 503 after five seconds, while questions are answered; once the lock is released, feedback
    succeeds.
    """
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path)}, port=free_port()) as server:
        body = {"answer_id": ANSWER, "helpful": True}
        assert server.post("/feedback", body)[0] == 201
        with closing(sqlite3.connect(tmp_path / "numstab.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            status, reply = server.post("/feedback", body)
            assert (status, reply["code"]) == (503, "store_unavailable")
            assert server.post("/ask", {"question": "counting numbers one"})[0] == 200
            other.execute("ROLLBACK")
        assert server.post("/feedback", body)[0] == 201


def test_deleted_store_is_created_again(tmp_path):
    """Otherwise SQLite would keep writing to the unlinked file, and acknowledged feedback would be lost."""
    store = Store(Settings(data=tmp_path).store_url)
    store.add_feedback(ANSWER, True, "before")
    for path in tmp_path.glob("numstab.sqlite*"):
        path.unlink()
    store.add_feedback(ANSWER, True, "after")
    store.close()
    assert [reason for _, _, reason in _feedback(tmp_path)] == ["after"]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -10 * 365 * 86400.0])
def test_clock_jump_resets_the_rate_limit(toy_service, tmp_path, monkeypatch, jump):
    """After the jump, clients have their full rate again, and answers have valid ids."""
    app = create_app(toy_service, Settings(data=tmp_path, rate="3/minute"))
    client, real = TestClient(app, client=("10.0.0.7", 5000)), time.time
    ask = {"question": "counting numbers one", "run": False}
    assert [client.post("/api/v1/ask", json=ask).status_code for _ in range(4)] == [200, 200, 200, 429]
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    replies = [client.post("/api/v1/ask", json=ask) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert 1 <= int(replies[3].headers["retry-after"]) <= 60
    assert len(replies[0].json()["id"]) == 26
