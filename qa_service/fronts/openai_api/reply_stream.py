"""Asks a question and yields the reply as a sequence of passages and progress reports, for both protocols."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anyio import to_thread

from qa_service.answering.execute import cached_own_evidence
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import ShuttingDown
from qa_service.fronts.openai_api.conversation import Conversation
from qa_service.fronts.openai_api.text import AnswerWriter, Passage, follow_ups
from qa_service.lab.cancellation import IsCancelled
from qa_service.model import Answer, AnswerStatus, Evidence, Lang, Request, Text
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, Queued, Started
from qa_service.server.streaming import EventStream, open_stream

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

PATIENCE_SECONDS = 1.5
"""The longest time that the text waits for its numbers; then it is sent without them."""
_PING_SECONDS = 10.0
"""The time without an event after which a comment is sent."""
_MEASURING, _QUEUED = Text("正在测：{}", "Measuring: {}"), Text("排队中，第 {} 位", "In the queue, place {}")
_MEASURED = Text("测完了", "Measured")


@dataclass(frozen=True, slots=True)
class Progress:
    """A progress report: `words` for users, and a short ASCII `comment` for the stream."""

    words: str
    comment: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class FollowUps:
    """Suggested follow-up questions."""

    questions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ping:
    """Keeps the connection open when nothing has happened for some seconds."""


Delta = Passage | Progress | FollowUps | Ping


@dataclass(frozen=True, slots=True)
class ReplyStream:
    """A reply in progress."""

    conversation: Conversation
    event_stream: EventStream
    base: str
    """Our own address, for links, with a slash at its end."""
    cached_evidence: tuple[Evidence, ...]
    """For a reply without runs, the evidence that was measured earlier."""

    @property
    def answer(self) -> Answer:
        """The answer, without evidence."""
        assert isinstance(self.event_stream.first, AnswerReady)
        return self.event_stream.first.answer

    async def whole(self, http: "HttpRequest") -> list[Passage]:
        """The reply once everything is measured. Raises `ClientDisconnected`, and the error of the stream."""
        last = await self.event_stream.collect(http)
        assert isinstance(last, Done)
        return self._writer().whole(last.answer)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """Passages, progress, follow-ups and pings as they become available; closing the generator cancels the
        experiments.
        """
        writer, answer, lang = self._writer(), self.answer, self.answer.lang
        for passage in writer.ready():
            yield passage
        events = _events_or_timeout(self.event_stream, lambda: writer.is_waiting)
        try:
            async for event in events:
                for delta in _deltas(writer, event, lang):
                    yield delta
                if isinstance(event, Done):
                    answer = event.answer
        finally:
            await events.aclose()
        if answer.evidence:
            yield Progress(_MEASURED[lang], "measured", done=True)
        for passage in writer.rest(answer):
            yield passage
        if questions := follow_ups(answer):
            yield FollowUps(questions)

    def _writer(self) -> AnswerWriter:
        return AnswerWriter(self.answer, self.base, runs=self.conversation.runs, kept=self.cached_evidence)


async def open_reply(
    service: Service,
    knowledge: Knowledge,
    http: "HttpRequest",
    conversation: Conversation,
    base: str,
    reader: Lang | None,
) -> ReplyStream:
    """Asks the last question of a conversation, and returns once its text is known. Raises `NumstabError`.

    `base` is our own address, `reader` the language of the answer if the question shows none.
    """
    opening, later = conversation.first_request(reader), conversation.later_turns
    begun = await open_stream(http, partial(_events, service, knowledge, opening, later))
    assert isinstance(begun.first, AnswerReady)
    kept = (
        () if conversation.runs else await to_thread.run_sync(_measured_before, service, knowledge, begun.first.answer)
    )
    return ReplyStream(conversation, begun, base, kept)


def _events(
    service: Service, knowledge: Knowledge, opening: Request, later: Sequence[str], is_cancelled: IsCancelled
) -> Generator[Event, None, None]:
    yield from service.stream(service.fold_turns(opening, later, knowledge), is_cancelled, knowledge)


def _measured_before(service: Service, knowledge: Knowledge, answer: Answer) -> tuple[Evidence, ...]:
    """The cached evidence of the entry, for a reply without runs; none if the question names parameters."""
    if answer.status is not AnswerStatus.ANSWERED or answer.entry is None or answer.params:
        return ()
    return cached_own_evidence(answer.entry, knowledge.experiments, service.runner)


def _deltas(writer: AnswerWriter, event: Event | Ping | None, lang: Lang) -> Iterator[Delta]:
    """The deltas to send after an event; the event None means that `PATIENCE_SECONDS` are over."""
    match event:
        case None:
            yield from writer.without_numbers()
        case EvidenceReady(evidence):
            writer.add(evidence)
            yield from writer.ready()
        case Started() | Queued():
            yield _progress(event, lang)
        case Ping():
            yield event


async def _events_or_timeout(
    begun: EventStream, is_waiting: Callable[[], bool]
) -> AsyncGenerator[Event | Ping | None, None]:
    """The events after the first one, and pings; None, once, if `is_waiting` after `PATIENCE_SECONDS`."""
    heard = time.monotonic()
    patient, patient_until = True, heard + PATIENCE_SECONDS
    coming: asyncio.Task[list[Event] | None] | None = None
    try:
        await begun.text_priority.wait_for_pending_texts()
        while True:
            coming = coming or asyncio.create_task(_next(begun))
            timeout = max(0.0, patient_until - time.monotonic()) if patient and is_waiting() else None
            await asyncio.wait({coming}, timeout=timeout)
            if not coming.done():
                patient = False
                yield None
                continue
            batch, coming = coming.result(), None
            if batch is None:
                return
            if begun.shutdown.passed:
                raise ShuttingDown
            for event in batch:
                yield event
            if batch:
                heard = time.monotonic()
            elif time.monotonic() - heard >= _PING_SECONDS:
                heard = time.monotonic()
                yield Ping()
    finally:
        if coming is None:
            await begun.rest.aclose()
        else:
            coming.cancel()  # ends the generator that it waits for, which cancels the experiment


async def _next(begun: EventStream) -> list[Event] | None:
    return await anext(begun.rest, None)


def _progress(event: Started | Queued, lang: Lang) -> Progress:
    if isinstance(event, Queued):
        return Progress(_QUEUED[lang].format(event.position), f"queued {event.position}")
    return Progress(_MEASURING[lang].format(event.experiment.title[lang]), f"measuring {event.experiment.slug}")
