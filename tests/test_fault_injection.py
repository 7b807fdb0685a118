"""What goes wrong around a running server: each fault is seen from outside, and the next question is fine."""

import os
import signal
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from processes import until

from bench.server import Server, free_port, run_server
from qa_service.app import create_app
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


@pytest.fixture(scope="module")
def server(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path_factory.mktemp("data"))}) as server:
        yield server


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
def test_what_a_demo_does_wrong_is_evidence_over_http(server, slug, status):
    """200 with a status and a note; the next run is fine, and no process is left but those that wait."""
    evidence = run(server, slug)
    assert (evidence["status"], bool(evidence["note"])) == (status, True)
    assert run(server, "counts", seed=time.monotonic_ns())["status"] == "ran"


@pytest.mark.parametrize("route", ["/runs/stream", "/runs"])
def test_a_client_that_disconnects_cancels_its_run(server, route):
    """Whether it is streamed or not, its process is dead long before its deadline."""
    run(server, "counts")
    _until_the_child_is_dead(server, route)


@pytest.mark.parametrize("abruptly", [False, True])
@pytest.mark.parametrize(
    ("route", "sent", "heard"), [("/runs/stream", 4, ""), ("/runs/stream", None, "event: row"), ("/runs", None, "")]
)
def test_a_reader_who_leaves_is_no_error(server, route, sent, heard, abruptly):
    """In the middle of his question, of what he is told, of his waiting: the log has a line, and no failure."""
    before = server.log.read_text().count("message=request")
    body = b'{"seed": %d, "params": {"steps": 1000}}' % time.monotonic_ns()
    head = f"POST /api/v1/experiments/sleeps{route} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as reader:
        reader.sendall(head.encode() + body[:sent])
        while heard.encode() not in reader.recv(65536) if heard else False:
            pass
        if abruptly:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: server.log.read_text().count("message=request") > before)
    said = server.log.read_text()
    assert "unforeseen" not in said
    assert "Traceback" not in said


def _until_the_child_is_dead(server: Server, route: str) -> None:
    """Of a demo that says one row and then nothing until its deadline: no row wakes who listens."""
    body = b'{"seed": %d}' % time.monotonic_ns()
    head = f"POST /api/v1/experiments/hangs{route} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    until(lambda: len(_children(server)) == _waiting())
    idle = _children(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as reader:
        reader.sendall(head.encode() + body)
        if route.endswith("stream"):
            heard = b""
            while b"event: row" not in heard:
                heard += reader.recv(65536)
        until(lambda: len(_children(server)) > _waiting())  # the successor of the one that was taken
    until(lambda: bool(idle - _children(server)), seconds=20)


def _waiting() -> int:
    return os.cpu_count() or 1


def _forkservers(server: Server) -> list[int]:
    return [pid for pid in server.processes() if _parent(pid) == server.process.pid and _is_forked(server, pid)]


def _forkserver(server: Server) -> int:
    """Their common parent."""
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


def test_the_server_of_children_may_die(server):
    """Killed, it is started anew by who runs next; a run that was under way says that it was killed."""
    before = _forkserver(server)
    os.kill(before, signal.SIGKILL)
    assert run(server, "counts", seed=time.monotonic_ns())["status"] == "ran"
    until(
        lambda: before not in server.processes() and len(_forkservers(server)) == 1
    )  # a waiting child may have run it


@pytest.mark.exhaustive
def test_the_server_of_children_does_not_grow(server):
    """Forty runs: not a descriptor, not four MiB."""
    run(server, "counts", seed=time.monotonic_ns())
    until(lambda: len(_children(server)) == _waiting())
    before = _held(_forkserver(server))
    for _ in range(40):
        run(server, "counts", seed=time.monotonic_ns())
    until(lambda: len(_children(server)) == _waiting())
    after = _held(_forkserver(server))
    assert after[0] - before[0] < 4 << 10, (before, after)
    assert after[1] <= before[1] + 1


def _held(pid: int) -> tuple[int, int]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_no_process_to_be_had_is_evidence_too(monkeypatch, toy_experiments):
    """No memory, descriptors or processes: the run says so, the slot is free again, the next one runs."""
    lab = ProcessRunner(deadline=20.0, memory=1024, slots=1)
    experiment = toy_experiments["counts"]

    def none(_self: ForkServerProcess) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(ForkServerProcess, "start", none)
        failed = lab.run(experiment, {"steps": 1})
    assert (failed.status, "temporarily unavailable" in failed.note.en) == (RunStatus.CRASHED, True)
    assert lab.run(experiment, {"steps": 1}).status is RunStatus.RAN


@pytest.mark.server
@pytest.mark.exhaustive
def test_killed_and_started_again_a_server_has_what_it_acknowledged(env, tmp_path):
    """SIGKILL in the middle of a run: feedback is there, every process goes with the server, the next one starts."""
    settings = env | {"NUMSTAB_DATA": str(tmp_path)}
    with run_server(settings) as server:
        for at in range(10):
            assert server.post("/feedback", {"answer_id": ANSWER, "helpful": True, "reason": str(at)})[0] == 201
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as reader:
            body = b'{"params": {"steps": 100000}}'
            head = "POST /api/v1/experiments/sleeps/runs/stream HTTP/1.1\r\nHost: x\r\nContent-Length: "
            reader.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
            while b"event: row" not in reader.recv(65536):
                pass
            server.process.kill()
            until(lambda: not server.processes())
    with run_server(settings) as server:
        assert server.post("/feedback", {"answer_id": ANSWER, "helpful": False})[0] == 201
    kept = _feedback(tmp_path)
    assert [reason for _, _, reason in kept] == [*map(str, range(10)), None]


def _feedback(data: Path) -> list[tuple[str, bool, str | None]]:
    store = Store(Settings(data=data).store_url)
    try:
        return store.feedback()
    finally:
        store.close()


@pytest.mark.server
@pytest.mark.exhaustive
def test_a_full_disk_costs_no_answer_and_nothing_acknowledged(env, tmp_path):
    """No file may grow beyond 256 KiB: feedback is refused with 503 at some time, answers go on, what was kept is."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))"
    told = []
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path)}, before=limit) as server:
        for at in range(200):
            status, said = server.post("/feedback", {"answer_id": ANSWER, "helpful": True, "reason": f"{at} " * 400})
            assert status in (201, 503), said
            if status == 201:
                told.append(f"{at} " * 400)
            else:
                assert said["code"] == "store_unavailable"
                break
        else:
            pytest.fail("the disk never filled")
        status, answer = server.post("/ask", {"question": "counting numbers one"})
        assert (status, answer["evidence"][0]["status"]) == (200, "ran")
    assert told
    assert set(told) <= {reason for _, _, reason in _feedback(tmp_path)}


@pytest.mark.server
@pytest.mark.exhaustive
def test_a_locked_store_is_503_and_holds_nobody_else(env, tmp_path):
    """Feedback waits for five seconds and is refused; answers go on meanwhile; afterwards all is well."""
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path)}, port=free_port()) as locked:
        body = {"answer_id": ANSWER, "helpful": True}
        assert locked.post("/feedback", body)[0] == 201
        with closing(sqlite3.connect(tmp_path / "numstab.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            status, said = locked.post("/feedback", body)
            assert (status, said["code"]) == (503, "store_unavailable")
            assert locked.post("/ask", {"question": "counting numbers one"})[0] == 200
            other.execute("ROLLBACK")
        assert locked.post("/feedback", body)[0] == 201


def test_a_store_that_was_deleted_is_made_anew(tmp_path):
    """SQLite would write on into a file that has no name any more: acknowledged, and lost."""
    store = Store(Settings(data=tmp_path).store_url)
    store.add_feedback(ANSWER, True, "before")
    for path in tmp_path.glob("numstab.sqlite*"):
        path.unlink()
    store.add_feedback(ANSWER, True, "after")
    store.close()
    assert [reason for _, _, reason in _feedback(tmp_path)] == ["after"]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -10 * 365 * 86400.0])
def test_a_clock_that_jumps_locks_nobody_out(toy_service, tmp_path, monkeypatch, jump):
    """Counted afresh; answers have ids, feedback is kept."""
    app = create_app(toy_service, Settings(data=tmp_path, rate="3/minute"))
    client, real = TestClient(app, client=("10.0.0.7", 5000)), time.time
    ask = {"question": "counting numbers one", "run": False}
    assert [client.post("/api/v1/ask", json=ask).status_code for _ in range(4)] == [200, 200, 200, 429]
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    replies = [client.post("/api/v1/ask", json=ask) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert 1 <= int(replies[3].headers["retry-after"]) <= 60
    assert len(replies[0].json()["id"]) == 26
