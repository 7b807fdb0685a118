"""Many clients at once on a real server, and micro-batching. For 300 clients, run `python -m bench load`."""

import http.client
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from processes import TIMEOUT_SECONDS

from bench.clients import run_clients
from bench.server import run_server
from qa_service.retrieval.batcher import MicroBatcher
from qa_service.settings import Settings
from qa_service.store import Store

TOYS = Path(__file__).resolve().parent / "toys"
CLIENTS = 40
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="processes are watched through /proc")


@pytest.fixture(scope="module")
def env(cache: Path) -> dict[str, str]:
    return {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
            "NUMSTAB_DEADLINE": "240", "NUMSTAB_RATE": "", "NUMSTAB_QUEUE": "100"}  # fmt: skip


def test_identical_requests_share_one_run(toy_server):
    """Every client receives every row, and the evidence of a single run."""
    results = run_clients(toy_server.port, [{"question": "counting numbers one", "seed": 7}] * CLIENTS)
    assert [result.error for result in results if result.error] == []
    assert {result.rows for result in results} == {5}
    assert len({run for result in results for run in result.runs}) == 1


def test_different_runs_are_queued_and_all_executed(toy_server):
    """Each client gets its own run, and waiting clients get `queued` events."""
    results = run_clients(
        toy_server.port, [{"question": "counting numbers one", "seed": 100 + client} for client in range(CLIENTS)]
    )
    assert [result.error for result in results if result.error] == []
    assert len({run for result in results for run in result.runs}) == CLIENTS
    assert any(result.queued for result in results)


def test_texts_do_not_wait_for_runs(toy_server):
    """All texts arrive while every slot is busy; the runs are still active afterwards."""
    bodies = [{"question": "counting numbers one", "run": False}] * CLIENTS
    route = f"http://127.0.0.1:{toy_server.port}/api/v1/experiments/sleeps/runs/stream"
    with ExitStack() as stack:
        rows = []
        for seed in range(os.cpu_count() or 1):
            body = {"params": {"steps": 100_000}, "seed": seed}
            response = stack.enter_context(httpx.stream("POST", route, json=body, timeout=TIMEOUT_SECONDS))
            rows.append(line for line in response.iter_lines() if line.startswith("event: row"))
            next(rows[-1])
        results = run_clients(toy_server.port, bodies)
        assert [result.error for result in results if result.error] == []
        for stream in rows:
            next(stream)


@pytest.mark.exhaustive
def test_two_hundred_runs_at_once_are_answered_or_rejected(toy_server):
    """Whether the queue of 100 overflows depends on the machine; test_api.py tests that a full queue gives 503."""
    bodies = [{"question": "counting numbers one", "seed": 1000 + client} for client in range(200)]
    results = run_clients(toy_server.port, bodies)
    assert {result.status for result in results} <= {200, 503}
    assert {result.error for result in results if result.status == 200} == {""}
    assert toy_server.post("/ask", {"question": "counting numbers one"})[0] == 200


@pytest.mark.server
@pytest.mark.exhaustive
def test_two_workers_share_one_store_without_loss(env, tmp_path):
    """They start at the same time on a new store; every acknowledged feedback is stored."""
    with run_server(env | {"NUMSTAB_DATA": str(tmp_path)}, workers=2) as server:
        bodies = [{"question": "counting numbers one", "seed": client} for client in range(CLIENTS)]
        assert [result.error for result in run_clients(server.port, bodies) if result.error] == []
        for number in range(40):
            body = {"answer_id": "01K0000000000000000000000A", "helpful": True, "reason": str(number)}
            assert server.post("/feedback", body)[0] == 201
    store = Store(Settings(data=tmp_path).store_url)
    assert sorted(int(reason or -1) for _, _, reason in store.feedback()) == list(range(40))
    store.close()


def test_error_in_a_batch_affects_only_its_caller():
    """If a batch raises an error, each of its items is computed alone."""
    batcher: MicroBatcher[int, float] = MicroBatcher(lambda items: [1 / item for item in items])
    with pytest.raises(ZeroDivisionError):
        batcher(0)
    assert batcher(4) == 0.25
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(batcher, number % 3) for number in range(300)]
    failed = sum(future.exception() is not None for future in futures)
    assert failed == 100
    assert {future.result() for future in futures if future.exception() is None} == {1.0, 0.5}


def test_concurrent_calls_are_batched():
    """Twenty calls made while a batch of one runs are computed in a few batches of at most sixteen; every call
    returns.
    """
    started, proceed, sizes, called = threading.Event(), threading.Event(), [], threading.Semaphore(0)

    def negate(items: list[int]) -> list[int]:
        sizes.append(len(items))
        started.set()
        assert proceed.wait(TIMEOUT_SECONDS)
        return [-item for item in items]

    batcher: MicroBatcher[int, int] = MicroBatcher(negate)

    def call(number: int) -> int:
        called.release()
        return batcher(number)

    with ThreadPoolExecutor(21) as pool:
        try:
            futures = [pool.submit(call, 0)]
            assert started.wait(TIMEOUT_SECONDS)
            futures += [pool.submit(call, number) for number in range(1, 21)]
            for _ in futures:
                assert called.acquire(timeout=TIMEOUT_SECONDS)
        finally:
            proceed.set()
    assert [future.result() for future in futures] == [-number for number in range(21)]
    assert (sizes[0], sum(sizes)) == (1, 21)
    assert 1 < max(sizes) <= 16


def test_batched_events_are_separate_server_sent_events(toy_server):
    """Events that are sent in one chunk keep their names and order."""
    connection = http.client.HTTPConnection("127.0.0.1", toy_server.port, timeout=TIMEOUT_SECONDS)
    connection.request("POST", "/api/v1/ask/stream", json.dumps({"question": "counting numbers one"}))
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    names = [line[7:] for line in response.read().decode().splitlines() if line.startswith("event: ")]
    connection.close()
    assert names[:2] == ["answer", "started"]
    assert names[-2:] == ["evidence", "done"]
