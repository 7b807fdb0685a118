"""No evidence is sent while somebody waits for his text; and none waits for ever. The crowd: `python -m bench load`."""

import asyncio
import threading
import time

import pytest
from fastapi import FastAPI
from processes import TIMEOUT_SECONDS, run_async
from starlette.requests import Request as HttpRequest

from qa_service.model import Request
from qa_service.model.events import AnswerReady
from qa_service.server import priority as texts_first
from qa_service.server import streaming
from qa_service.server.priority import TextPriority


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Evidence stands back for as long as a test takes on any machine: what passes has not merely run out of time."""
    monkeypatch.setattr(texts_first, "TIMEOUT_SECONDS", 2 * TIMEOUT_SECONDS)


def test_evidence_stands_back_until_the_last_text_is_there():
    async def crowd() -> None:
        order = TextPriority()
        with order.pending():
            with order.pending():
                evidence = asyncio.ensure_future(order.wait_for_texts())
                await asyncio.sleep(0.2)
                assert not evidence.done()
            await asyncio.sleep(0.1)
            assert not evidence.done()
        await asyncio.wait_for(evidence, TIMEOUT_SECONDS)

    run_async(crowd())


def test_no_run_begins_while_somebody_waits_for_his_text(service):
    """The thread that answers goes no further than its text until the others have theirs."""
    order = TextPriority()
    app = FastAPI()
    app.state.text_priority, app.state.shutdown = order, streaming.ShutdownDeadline()
    begun = threading.Event()

    def events(stopped):
        for event in service.stream(Request(question="", entry="multiply-vs-add", blocks=("powers",)), stopped):
            if not isinstance(event, AnswerReady):
                begun.set()
            yield event

    async def crowd() -> None:
        with order.pending():
            answer = await streaming.open_stream(HttpRequest({"type": "http", "app": app}), events)
            assert isinstance(answer.first, AnswerReady)
            assert not begun.wait(0.3)
        assert await asyncio.to_thread(begun.wait, TIMEOUT_SECONDS)
        await answer.rest.aclose()

    run_async(crowd())


def test_questions_that_never_cease_hold_nothing_up(monkeypatch):
    monkeypatch.setattr(texts_first, "TIMEOUT_SECONDS", 0.3)

    async def crowd() -> None:
        order = TextPriority()
        began = time.monotonic()
        with order.pending():
            await order.wait_for_texts()
        assert time.monotonic() - began > 0.2

    run_async(crowd())


def test_a_text_that_failed_is_waited_for_no_longer():
    """And where nobody asks nobody waits."""

    async def alone() -> None:
        order = TextPriority()
        with pytest.raises(ValueError, match="no text"), order.pending():
            raise ValueError("no text")
        await asyncio.wait_for(order.wait_for_texts(), TIMEOUT_SECONDS)

    run_async(alone())
