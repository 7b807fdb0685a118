"""Texts of answers are sent before evidence, which waits up to a time limit. Under load: `python -m bench load`."""

import asyncio
import threading

import pytest
from fastapi import FastAPI
from processes import TIMEOUT_SECONDS, run_async, run_event_loop_turns
from starlette.requests import Request as HttpRequest

from qa_service.model import Request
from qa_service.model.events import AnswerReady
from qa_service.server import priority as priority_module
from qa_service.server import streaming
from qa_service.server.priority import TextPriority


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch):
    """Sets a time limit longer than any test, so that no test passes because evidence has merely timed out."""
    monkeypatch.setattr(priority_module, "MAX_DELAY_SECONDS", 2 * TIMEOUT_SECONDS)


def test_evidence_waits_for_every_pending_text(monkeypatch):
    monkeypatch.setattr(priority_module, "GRACE_SECONDS", 0)

    async def scenario() -> None:
        priority = TextPriority()
        with priority.pending():
            with priority.pending():
                evidence = asyncio.ensure_future(priority.wait_for_pending_texts())
                await run_event_loop_turns()
                assert not evidence.done()
            await run_event_loop_turns()
            assert not evidence.done()
        await asyncio.wait_for(evidence, TIMEOUT_SECONDS)

    run_async(scenario())


def test_no_run_starts_while_a_text_is_pending(service):
    """A stream that has sent its text starts its runs once no other text is pending."""
    started, at_the_gate, pending_beyond = threading.Event(), threading.Event(), []

    class Gate(TextPriority):
        def wait_for_pending_texts_blocking(self) -> None:
            assert not started.is_set()
            at_the_gate.set()
            super().wait_for_pending_texts_blocking()
            pending_beyond.append(self.is_pending)

    priority = Gate()
    app = FastAPI()
    app.state.text_priority, app.state.shutdown = priority, streaming.ShutdownDeadline()

    def events(stopped):
        for event in service.stream(Request(question="", entry="multiply-vs-add", blocks=("powers",)), stopped):
            if not isinstance(event, AnswerReady):
                started.set()
            yield event

    async def scenario() -> None:
        with priority.pending():
            answer = await streaming.open_stream(HttpRequest({"type": "http", "app": app, "headers": []}), events)
            assert isinstance(answer.first, AnswerReady)
            assert await asyncio.to_thread(at_the_gate.wait, TIMEOUT_SECONDS)
            assert not started.is_set()
        assert await asyncio.to_thread(started.wait, TIMEOUT_SECONDS)
        await answer.rest.aclose()

    run_async(scenario())
    assert pending_beyond == [False]


def test_evidence_waits_no_longer_than_the_timeout(monkeypatch):
    monkeypatch.setattr(priority_module, "MAX_DELAY_SECONDS", 0.01)

    async def scenario() -> None:
        priority = TextPriority()
        with priority.pending():
            await asyncio.wait_for(priority.wait_for_pending_texts(), TIMEOUT_SECONDS)
            await asyncio.to_thread(priority.wait_for_pending_texts_blocking)
            assert priority.is_pending

    run_async(scenario())


def test_a_failed_text_is_no_longer_pending():

    async def scenario() -> None:
        priority = TextPriority()
        with pytest.raises(ValueError, match="no text"), priority.pending():
            raise ValueError("no text")
        await asyncio.wait_for(priority.wait_for_pending_texts(), TIMEOUT_SECONDS)

    run_async(scenario())
