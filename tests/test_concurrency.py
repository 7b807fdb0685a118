"""A crowd at once: no error, the text soon, the same run once. The class of 300: `python -m bench load`."""

import http.client
import json
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from processes import TIMEOUT_SECONDS

from bench.clients import run_clients
from bench.server import Server, run_server
from qa_service.retrieval.batcher import MicroBatcher
from qa_service.settings import Settings
from qa_service.store import Store

TOYS = Path(__file__).resolve().parent / "toys"
READERS = 40
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="processes are watched through /proc")


@pytest.fixture(scope="module")
def env(cache: Path) -> dict[str, str]:
    return {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
            "NUMSTAB_DEADLINE": "200", "NUMSTAB_RATE": "", "NUMSTAB_QUEUE": "100"}  # fmt: skip


@pytest.fixture(scope="module")
def server(env: dict[str, str]) -> Iterator[Server]:
    with run_server(env) as server:
        yield server


def test_many_who_ask_the_same_are_answered_from_one_run(server):
    """No error; every one hears every row; what they got was measured once."""
    heard = run_clients(server.port, [{"question": "counting numbers one", "seed": 7}] * READERS)
    assert [one.error for one in heard if one.error] == []
    assert {one.rows for one in heard} == {5}
    assert len({run for one in heard for run in one.runs}) == 1


def test_many_who_ask_for_a_run_each_are_all_served(server):
    """In a line, with their places; each gets his own."""
    heard = run_clients(server.port, [{"question": "counting numbers one", "seed": 100 + at} for at in range(READERS)])
    assert [one.error for one in heard if one.error] == []
    assert len({run for one in heard for run in one.runs}) == READERS
    assert any(one.queued for one in heard)


def test_the_text_does_not_wait_for_the_runs(server):
    """All texts are there while every slot is taken, and still taken afterwards."""
    bodies = [{"question": "counting numbers one", "run": False}] * READERS
    route = f"http://127.0.0.1:{server.port}/api/v1/experiments/sleeps/runs/stream"
    with ExitStack() as stack:
        rows = []
        for seed in range(os.cpu_count() or 1):
            body = {"params": {"steps": 100_000}, "seed": seed}
            sleeper = stack.enter_context(httpx.stream("POST", route, json=body, timeout=TIMEOUT_SECONDS))
            rows.append(line for line in sleeper.iter_lines() if line.startswith("event: row"))
            next(rows[-1])
        heard = run_clients(server.port, bodies)
        assert [one.error for one in heard if one.error] == []
        for each in rows:
            next(each)


@pytest.mark.exhaustive
def test_too_many_are_refused_early(server):
    """Beyond the queue: 503 with Retry-After at once, the others are served, and afterwards all is as before."""
    bodies = [{"question": "counting numbers one", "seed": 1000 + at} for at in range(200)]
    heard = run_clients(server.port, bodies)
    refused = [one for one in heard if one.status == 503]
    assert {one.status for one in heard} <= {200, 503}
    assert {one.error for one in heard if one.status == 200} == {""}
    assert refused
    assert server.post("/ask", {"question": "counting numbers one"})[0] == 200


@pytest.mark.server
@pytest.mark.exhaustive
def test_two_workers_start_at_once_on_one_store_and_lose_nothing(env, tmp_path):
    """Feedback and answers through both of them; what was acknowledged is there, every answer counted."""
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path)}, workers=2) as server:
        bodies = [{"question": "counting numbers one", "seed": at} for at in range(READERS)]
        assert [one.error for one in run_clients(server.port, bodies) if one.error] == []
        for at in range(40):
            body = {"answer_id": "01K0000000000000000000000A", "helpful": True, "reason": str(at)}
            assert server.post("/feedback", body)[0] == 201
    store = Store(Settings(data=tmp_path).store_url)
    assert sorted(int(reason or -1) for _, _, reason in store.feedback()) == list(range(40))
    store.close()


def test_work_done_together_fails_nobody_for_anothers_sake():
    """One of a batch is wrong: he alone hears so."""
    together: MicroBatcher[int, float] = MicroBatcher(lambda given: [1 / each for each in given])
    with pytest.raises(ZeroDivisionError):
        together(0)
    assert together(4) == 0.25
    with ThreadPoolExecutor(16) as pool:
        done = [pool.submit(together, at % 3) for at in range(300)]
    failed = sum(one.exception() is not None for one in done)
    assert failed == 100
    assert {one.result() for one in done if one.exception() is None} == {1.0, 0.5}


def test_who_waits_is_worked_for_by_the_first_of_them():
    """Twenty come while one is at work: together they are few pieces of work, sixteen at most in one; nobody waits for
    ever.
    """
    begun, go, sizes, come = threading.Event(), threading.Event(), [], threading.Semaphore(0)

    def work(given: list[int]) -> list[int]:
        sizes.append(len(given))
        begun.set()
        assert go.wait(TIMEOUT_SECONDS)
        return [-each for each in given]

    together: MicroBatcher[int, int] = MicroBatcher(work)

    def ask(at: int) -> int:
        come.release()
        return together(at)

    with ThreadPoolExecutor(21) as pool:
        try:
            done = [pool.submit(ask, 0)]
            assert begun.wait(TIMEOUT_SECONDS)
            done += [pool.submit(ask, at) for at in range(1, 21)]
            for _ in done:
                assert come.acquire(timeout=TIMEOUT_SECONDS)
        finally:
            go.set()
    assert [one.result() for one in done] == [-at for at in range(21)]
    assert (sizes[0], sum(sizes)) == (1, 21)
    assert 1 < max(sizes) <= 16


def test_events_leave_as_they_would_singly(server):
    """Many in one piece are still events, each with its name and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/api/v1/ask/stream", json.dumps({"question": "counting numbers one"}))
    reply = connection.getresponse()
    assert reply.getheader("content-type", "").startswith("text/event-stream")
    names = [line[7:] for line in reply.read().decode().splitlines() if line.startswith("event: ")]
    connection.close()
    assert names[:2] == ["answer", "started"]
    assert names[-2:] == ["evidence", "done"]
