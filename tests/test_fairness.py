"""No client can take everything: the number of runs per request is limited and charged, and one client may fill half of
the queue.
"""

import asyncio
import contextvars
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import TIMEOUT_SECONDS, run_async, until

from qa_service.answering import diagnosing
from qa_service.answering import service as answering
from qa_service.app import create_app
from qa_service.diagnosis import engine, reading
from qa_service.errors import BadField, Overloaded, RateLimited, Unauthorized
from qa_service.fronts.web import link_previews
from qa_service.lab.clients import CLIENT, Client, clients_of_run
from qa_service.lab.queue import FairQueue
from qa_service.lab.runner import QueuePosition
from qa_service.model import Request, Run, RunStatus
from qa_service.model.events import AnswerReady, Event
from qa_service.server.api_keys import ApiKeyStore
from qa_service.settings import Settings
from qa_service.telemetry.timing import Timings


@contextmanager
def served(client: Client) -> Iterator[None]:
    token = CLIENT.set(client)
    try:
        yield
    finally:
        CLIENT.reset(token)


def first_event(service: answering.Service, **request: object) -> Event:
    """The first event of an answer; the rest of its stream is abandoned."""
    with closing(service.stream(Request(question="", entry="counting", **request))) as events:
        return next(events)


def test_a_request_is_charged_for_its_runs(toy_service):
    """Each ten runs beyond the first ten count as one more request; an ordinary request counts once."""
    charged: list[int] = []
    with served(Client("a", charged.append)):
        for seeds in (1, 10, 11, 20):
            assert isinstance(first_event(toy_service, seeds=seeds), AnswerReady)
        first_event(toy_service, seeds=20, compare={"steps": (1, 2, 3)})
        first_event(toy_service, seeds=20, run=False)
    assert charged == [1, 1, 5]


def test_a_client_that_cannot_pay_is_refused_before_the_first_event(toy_service):
    def refuse(_: int) -> None:
        raise RateLimited("10 per 1 minute", 30)

    with served(Client("a", refuse)):
        assert isinstance(first_event(toy_service), AnswerReady)
        with pytest.raises(RateLimited):
            first_event(toy_service, seeds=20)


def test_the_runs_of_a_request_are_bounded(toy_service, monkeypatch):
    """The number is seeds times compared values times blocks; the refusal gives it and the limit."""
    monkeypatch.setattr(answering, "MAX_RUNS", 50)
    assert isinstance(first_event(toy_service, seeds=20, compare={"steps": (1, 2)}), AnswerReady)
    with pytest.raises(BadField, match="60 runs; a request may take 50"):
        first_event(toy_service, seeds=20, compare={"steps": (1, 2, 3)})


def test_a_client_may_fill_half_of_the_queue(toy_service):
    """The rest is left to other clients; the refusal says when to try again."""
    toy_service.runner = SimpleNamespace(
        waiting=3, waiting_of={"a": 2, "b": 1}.__getitem__, slots=1, timings=Timings(), ready=0
    )
    toy_service.queue = 4
    with served(Client("a")), pytest.raises(Overloaded) as refused:
        first_event(toy_service)
    assert refused.value.seconds >= 1
    with served(Client("b")):
        assert isinstance(first_event(toy_service), AnswerReady)


class Turnstile:
    """A runner with one slot whose runs execute nothing; each ends when the test allows it."""

    slots, ready, timings = 1, 0, Timings()

    def __init__(self) -> None:
        self.queue = FairQueue(1)
        self.passes = threading.Semaphore(0)

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def waiting_of(self, client: str) -> int:
        return self.queue.waiting_of(client)

    def stream(self, experiment, params, seed, is_cancelled=lambda: False) -> Generator[QueuePosition, None, Run]:
        with self.queue.join(clients_of_run()) as slot:
            yield QueuePosition(slot.position)
            assert slot.granted.wait(TIMEOUT_SECONDS)
            assert self.passes.acquire(timeout=TIMEOUT_SECONDS)
        return Run(status=RunStatus.RAN, measured={"last": 1.0})

    def close(self) -> None:
        """Does nothing, as there is nothing to close."""


def test_runs_of_one_client_delay_anothers_by_two_at_most(toy_service, tmp_path):
    """Over HTTP, with clients told by address: 500 runs of one wait; at most two of them end before another client's
    first run.
    """
    toy_service.runner = turnstile = Turnstile()
    app = create_app(toy_service, Settings(data=tmp_path))
    ended: list[str] = []

    many, one = (
        httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 5000)), base_url="http://localhost")
        for address in ("192.0.2.1", "192.0.2.2")
    )

    async def run(client: httpx.AsyncClient, seed: int) -> None:
        reply = await client.post("/api/v1/experiments/sleeps/runs", json={"seed": seed}, timeout=None)
        assert reply.status_code == 200, reply.text
        ended.append("one" if client is one else "many")

    async def wait_for(waiting: int) -> None:
        while turnstile.waiting < waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def compete() -> None:
        runs = [asyncio.ensure_future(run(many, seed)) for seed in range(500)]
        await wait_for(499)
        runs.append(asyncio.ensure_future(run(one, 0)))
        await wait_for(500)
        for count in range(1, 4):
            turnstile.passes.release()
            while sum(each.done() for each in runs) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for each in runs:
            if not each.cancel():
                await each
        turnstile.passes.release(498)
        await asyncio.wait(runs)

    run_async(compete())
    assert ended.index("one") <= 2


def test_clients_take_turns_in_reading_logs(monkeypatch):
    """A client that fills half of the queue waits for its own logs; another client's log is read second at the
    latest.
    """
    permits, order = threading.Semaphore(0), []

    def read_run(_data: bytes, name: str) -> None:
        order.append(name)
        assert permits.acquire(timeout=TIMEOUT_SECONDS)

    monkeypatch.setattr(reading, "read_training_run", read_run)
    monkeypatch.setattr(engine, "diagnose", lambda run: run)

    def send(client: str) -> threading.Thread:
        context = contextvars.copy_context()
        context.run(CLIENT.set, Client(client))
        thread = threading.Thread(target=context.run, args=(diagnosing.diagnose_file, b"", client), daemon=True)
        before = waiting()
        thread.start()
        until(lambda: waiting() > before or diagnosing.reading_queue.free_slots < 2)
        return thread

    def waiting() -> int:
        return len(diagnosing.reading_queue)

    threads: list[threading.Thread] = []
    try:
        threads += [send("many") for _ in range(2)]
        until(lambda: diagnosing.reading_queue.free_slots == 0)
        threads += [send("many") for _ in range(6)]
        until(lambda: waiting() == 6)
        with served(Client("many")), pytest.raises(Overloaded):
            diagnosing.diagnose_file(b"", "many")
        threads.append(send("one"))
        until(lambda: waiting() == 7)
        for read in range(len(order), len(threads)):  # one at a time: which thread wakes first decides nothing
            permits.release()
            until(lambda read=read: len(order) > read)
    finally:
        permits.release(100)
        for thread in threads:
            thread.join(TIMEOUT_SECONDS)
    assert order.index("one") <= 3
    assert sorted(order) == ["many"] * 8 + ["one"]


def test_a_client_that_may_only_read_starts_no_run(toy_service):
    """The rule holds on every route: some pictures and pages fetched by GET run an experiment if no result is
    cached.
    """
    with served(Client("reader", may_run=False)):
        with pytest.raises(Unauthorized):
            next(toy_service.run("counts", {}))
        with pytest.raises(Unauthorized):
            first_event(toy_service)
        assert isinstance(first_event(toy_service, run=False), AnswerReady)


def test_a_key_that_may_read_draws_no_card_that_needs_a_run(toy_service, tmp_path, monkeypatch):
    """It gets 403; once a key with the scope `ask` has had the card drawn, everybody sees it."""
    monkeypatch.setattr(link_previews, "draw_in_subprocess", lambda *_: (b"a picture", True))
    keys = ApiKeyStore(tmp_path)
    client = TestClient(create_app(toy_service, Settings(data=tmp_path, cache=tmp_path), is_public=False))
    reader, asker = ({"Authorization": f"Bearer {keys.add(scope, (scope,))}"} for scope in ("read", "ask"))
    statuses = [
        client.get("/entries/counting/card.png?lang=en", headers=key).status_code for key in (reader, asker, reader)
    ]
    assert statuses == [403, 200, 200]


def test_a_request_pays_for_its_runs_by_the_clients_rate(toy_service, tmp_path):
    """Over HTTP: 20 runs are two requests; beyond the rate 429 with Retry-After, for this client only."""
    app = create_app(toy_service, Settings(data=tmp_path, rate="3/minute"))
    first, second = (TestClient(app, client=(address, 5000)) for address in ("192.0.2.1", "192.0.2.2"))
    body = {"question": "", "entry": "counting", "seeds": 20}
    paid = first.post("/api/v1/ask", json=body)
    assert (paid.status_code, paid.headers["ratelimit-remaining"]) == (200, "1")
    refused = first.post("/api/v1/ask", json=body)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert second.post("/api/v1/ask", json=body).status_code == 200


def test_without_a_thread_for_an_answer_the_reply_is_503(toy_service, tmp_path, monkeypatch):
    """The reply has Retry-After; it once was 500."""
    client = TestClient(create_app(toy_service, Settings(data=tmp_path)))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name in ("answer", "texts"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reply = client.post("/api/v1/ask", json={"question": "counting numbers one", "run": False})
    assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
    assert int(reply.headers["retry-after"]) >= 1
