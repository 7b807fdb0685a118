"""Whole services that share a Valkey or Redis and a PostgreSQL, and how they behave when these do not respond."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from postgres_server import run_postgres, self_signed_certificate
from processes import ROOT, TIMEOUT_SECONDS, numstab_server, running, session_processes, until

from bench.server import free_port
from bench.valkey import run_valkey, valkey_program
from qa_service.shared_state import SharedState, SharedStateUnavailable
from qa_service.store import Store

TOYS = ROOT / "tests" / "toys"
FEEDBACK = {"answer_id": "01K0000000000000000000000A", "helpful": True}
ROWS = 100  # of a run in which something is killed: five seconds
pytestmark = pytest.mark.server


def _env(cache: Path, data: Path, **more: str) -> dict[str, str]:
    return {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_DATA": str(data),
            "NUMSTAB_CACHE": str(cache), "NUMSTAB_DEADLINE": "240", **more}  # fmt: skip


def _runs_executed(*addresses: str) -> float:
    """The number of runs that these services have executed themselves."""
    found = [httpx.get(f"{address}/metrics").text for address in addresses]
    counts = [re.search(r'^numstab_stage_seconds_count\{stage="run"\} (.*)$', text, re.MULTILINE) for text in found]
    return sum(float(count[1]) for count in counts if count)


@pytest.mark.exhaustive
@pytest.mark.skipif(valkey_program() is None, reason="no Valkey or Redis; on Debian: redis-server")
def test_a_run_that_many_ask_for_on_two_services_is_executed_once(cache, tmp_path):
    """Requests during the run share it, and later ones use its stored result, also on a service that has just
    started.
    """
    route, body = "/api/v1/experiments/sleeps/runs", {"params": {"steps": 20}, "seed": 5}

    def ask(address: str) -> dict:
        reply = httpx.post(f"{address}{route}", json=body, timeout=TIMEOUT_SECONDS)
        assert reply.status_code == 200, reply.text
        return reply.json()

    with run_valkey() as valkey:
        env = _env(cache, tmp_path, NUMSTAB_SHARED=valkey.url)
        with numstab_server(env, tmp_path / "one") as (one, _), ThreadPoolExecutor(20) as pool:
            with numstab_server(env, tmp_path / "two") as (two, _):
                before = _runs_executed(one, two)  # each has run something to be ready
                replies = list(pool.map(ask, [one, two] * 10))
                assert _runs_executed(one, two) == before + 1
                assert len({reply["receipt"]["code_hash"] for reply in replies}) == 1
            with numstab_server(env, tmp_path / "three") as (three, _):
                before = _runs_executed(three)
                assert ask(three)["cached"]
                assert _runs_executed(three) == before


@contextmanager
def _silent_server() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    ends, kept = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not ends.is_set():
                try:
                    kept.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ends.set()
            thread.join()
            for connection in kept:
                connection.close()


@contextmanager
def _serving(env: dict[str, str], log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A service whose store does not respond, once all its other parts are ready."""
    port = free_port()
    address, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]

    def parts() -> dict[str, bool]:
        with suppress(httpx.TransportError):
            return httpx.get(f"{address}/readyz", timeout=TIMEOUT_SECONDS).json()["parts"]
        return {}

    with log.open("wb") as out, running(command, env=os.environ | env, stdout=out, stderr=out) as server:
        until(lambda: (found := parts()) and all(found[part] for part in found if part != "store"), why=log.read_text)
        yield address, server


@pytest.mark.exhaustive
def test_a_silent_store_and_a_silent_valkey_cost_feedback_only(cache, tmp_path):
    """Feedback gets 503; answers and runs are unaffected. SIGTERM ends the service with all its processes."""
    with _silent_server() as database, _silent_server() as valkey:
        env = _env(
            cache, tmp_path,
            NUMSTAB_STORE=f"postgresql+psycopg://x@127.0.0.1:{database}/none",
            NUMSTAB_SHARED=f"redis://127.0.0.1:{valkey}",
        )  # fmt: skip
        with _serving(env, tmp_path / "log") as (address, server), ThreadPoolExecutor(20) as pool:
            feedback = [
                pool.submit(httpx.post, f"{address}/api/v1/feedback", json=FEEDBACK, timeout=TIMEOUT_SECONDS)
                for _ in range(9)
            ]
            asks = [
                pool.submit(
                    httpx.post,
                    f"{address}/api/v1/ask",
                    json={"question": "", "entry": "counting"},
                    timeout=TIMEOUT_SECONDS,
                )
                for _ in range(9)
            ]
            assert {each.result().status_code for each in asks} == {200}
            assert all(each.result().json()["evidence"][0]["status"] == "ran" for each in asks)
            assert {each.result().status_code for each in feedback} == {503}
            assert httpx.get(f"{address}/livez").status_code == 200
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT_SECONDS) == 0
            until(lambda: not session_processes(server.pid), why=lambda: session_processes(server.pid))


def _events(reply: httpx.Response) -> Iterator[str]:
    """The names of the events of a stream."""
    return (line.removeprefix("event: ") for line in reply.iter_lines() if line.startswith("event: "))


@pytest.mark.exhaustive
def test_a_database_killed_in_mid_run_costs_feedback_only(cache, tmp_path):
    """PostgreSQL is killed while two services answer: the run has all its rows, the next run gives the same numbers,
    and feedback gets 503 until the database is back; no acknowledged feedback is lost.
    """
    runs = "/api/v1/experiments/{}/runs"
    with run_postgres() as database:
        env = _env(cache, tmp_path, NUMSTAB_STORE=database.url, NUMSTAB_RATE="")
        with numstab_server(env, tmp_path / "one") as (one, _), numstab_server(env, tmp_path / "two") as (two, _):

            def post(address: str, route: str, body: dict) -> httpx.Response:
                return httpx.post(f"{address}{route}", json=body, timeout=TIMEOUT_SECONDS)

            def feedback(address: str) -> int:
                return post(address, "/api/v1/feedback", FEEDBACK).status_code

            def numbers(address: str, seed: int) -> object:
                reply = post(address, runs.format("counts"), {"params": {"steps": 40}, "seed": seed})
                assert reply.status_code == 200, reply.text
                return reply.json()["rows"], reply.json()["metrics"]

            before = [numbers(one, seed) for seed in range(4)]
            assert [feedback(one), feedback(two)] == [201, 201]
            body = {"params": {"steps": ROWS}, "seed": 1}
            with httpx.stream(
                "POST", f"{one}{runs.format('sleeps')}/stream", json=body, timeout=TIMEOUT_SECONDS
            ) as reply:
                events = _events(reply)
                while next(events) != "row":
                    pass
                database.kill()
                with ThreadPoolExecutor(12) as pool:
                    refused = [pool.submit(feedback, address) for address in (one, two) * 3]
                    after = [pool.submit(numbers, two, seed) for seed in range(4)]
                    texts = [
                        pool.submit(post, address, "/api/v1/ask", {"question": "", "entry": "counting", "run": False})
                        for address in (one, two)
                    ]
                    assert {each.result() for each in refused} == {503}
                    assert [each.result() for each in after] == before
                    assert {each.result().status_code for each in texts} == {200}
                assert list(events).count("row") == ROWS - 1
            assert all(
                httpx.get(f"{address}/readyz", timeout=TIMEOUT_SECONDS).status_code == 200 for address in (one, two)
            )
            database.start()
            for address in (one, two):
                until(lambda address=address: feedback(address) == 201)
        stored = Store(database.url)
        assert len(stored.feedback()) == 4
        stored.close()


@pytest.mark.skipif(valkey_program() is None, reason="no Valkey or Redis; on Debian: redis-server")
@pytest.mark.exhaustive
def test_what_is_shared_travels_by_tls(cache, tmp_path):
    """With `rediss://` and a private certificate, a run is stored for the next service; with a wrong certificate
    nothing is.
    """
    certificate = self_signed_certificate(tmp_path / "ours")
    others, _ = self_signed_certificate(tmp_path / "others")
    with run_valkey(certificate) as valkey:
        shared = SharedState(f"{valkey.url}?ssl_ca_certs={others}")
        with pytest.raises(SharedStateUnavailable), shared.guarded() as client:
            client.ping()
        shared.close()
        env = _env(cache, tmp_path, NUMSTAB_SHARED=f"{valkey.url}?ssl_ca_certs={certificate[0]}")
        asked = {"json": {"params": {"steps": 3}, "seed": 9}, "timeout": TIMEOUT_SECONDS}
        cached = []
        for name in ("one", "two"):
            with numstab_server(env, tmp_path / name) as (address, _):
                cached.append(httpx.post(f"{address}/api/v1/experiments/counts/runs", **asked).json()["cached"])
        assert cached == [False, True]
