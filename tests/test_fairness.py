"""One client cannot take everything: a request's runs are bounded and charged, and it may fill half of the queue."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest

from qa_service.answering import service as answering
from qa_service.errors import BadField, Overloaded, RateLimited
from qa_service.lab.clients import CLIENT, Client
from qa_service.model import Request
from qa_service.model.events import AnswerReady, Event
from qa_service.telemetry.timing import Timings


@contextmanager
def served(client: Client) -> Iterator[None]:
    token = CLIENT.set(client)
    try:
        yield
    finally:
        CLIENT.reset(token)


def first_event(service: answering.Service, **request: object) -> Event:
    """The first event of an answer, which is then given up."""
    with closing(service.stream(Request(question="", entry="counting", **request))) as events:
        return next(events)


def test_a_request_is_charged_for_its_runs(toy_service):
    """Once more for every ten beyond the first ten; an ordinary one is only counted as a request."""
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
    """Seeds times compared values times blocks; the refusal gives both numbers."""
    monkeypatch.setattr(answering, "MAX_RUNS", 50)
    assert isinstance(first_event(toy_service, seeds=20, compare={"steps": (1, 2)}), AnswerReady)
    with pytest.raises(BadField, match="60 runs; a request may take 50"):
        first_event(toy_service, seeds=20, compare={"steps": (1, 2, 3)})


def test_a_client_may_fill_half_of_the_queue(toy_service):
    """So there is room for others; the refusal says when to try again."""
    toy_service.runner = SimpleNamespace(
        waiting=3, waiting_of={"a": 2, "b": 1}.__getitem__, slots=1, timings=Timings(), ready=0
    )
    toy_service.queue = 4
    with served(Client("a")), pytest.raises(Overloaded) as refused:
        first_event(toy_service)
    assert refused.value.seconds >= 1
    with served(Client("b")):
        assert isinstance(first_event(toy_service), AnswerReady)
