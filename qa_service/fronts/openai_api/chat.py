"""Chat completions: the reply as one object or as a stream of chunks."""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypedDict
from uuid import uuid4

from qa_service.errors import NumstabError
from qa_service.fronts.openai_api.bodies import (
    AssistantMessage,
    ChatAnnotation,
    ChatChunk,
    ChatChunkWithUsage,
    ChatCompletionObject,
    ChatEvent,
    ChatUsage,
    DeltaChoice,
    FirstDelta,
    FollowUpsData,
    FollowUpsEvent,
    MessageChoice,
    StatusData,
    StatusEvent,
    TextDelta,
)
from qa_service.fronts.openai_api.conversation import Conversation
from qa_service.fronts.openai_api.errors import openai_error
from qa_service.fronts.openai_api.reply_stream import FollowUps, Ping, Progress, ReplyStream
from qa_service.fronts.openai_api.text import Passage
from qa_service.schemas.values import Body
from qa_service.server.problems import problem_json


class _Common(TypedDict):
    id: str
    created: int
    model: str
    system_fingerprint: str


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """Writes one reply; all its objects have the same id, model and time."""

    conversation: Conversation
    fingerprint: str
    id: str
    created: int

    @classmethod
    def new(cls, conversation: Conversation, fingerprint: str) -> "ChatCompletion":
        """A completion with a new id; `fingerprint` identifies the version of the knowledge base."""
        return cls(conversation, fingerprint, f"chatcmpl-{uuid4().hex}", int(time.time()))

    def whole(self, passages: Sequence[Passage]) -> ChatCompletionObject:
        """The reply as one object."""
        text = "".join(passage.text for passage in passages)
        cited = [ChatAnnotation.of(each) for passage in passages for each in passage.citations]
        choice = MessageChoice(message=AssistantMessage(content=text, annotations=cited))
        return ChatCompletionObject(**self._common(), choices=[choice], usage=self._usage(len(text)))

    async def stream(self, reply: ReplyStream) -> AsyncIterator[bytes]:
        """The reply as server-sent events. An error is sent as the last event, without `[DONE]`."""
        yield self._chunk(FirstDelta(content=""))
        length = 0
        try:
            async with aclosing(reply.deltas()) as deltas:
                async for delta in deltas:
                    length += len(delta.text) if isinstance(delta, Passage) else 0
                    yield self._encoded(delta)
        except Exception as error:
            # the HTTP status has been sent already
            yield _data_event(openai_error(problem_json(log_unexpected(error), reply.answer.lang))[1])
            return
        yield self._end(length)

    async def stream_text(self, text: str) -> AsyncIterator[bytes]:
        """A complete text as server-sent events."""
        yield self._chunk(FirstDelta(content=text))
        yield self._end(len(text))

    def _encoded(self, delta: Passage | Progress | FollowUps | Ping) -> bytes:
        """A delta as server-sent events. Open WebUI shows the field `event`; other clients ignore it."""
        match delta:
            case Passage(text, citations):
                cited = [ChatAnnotation.of(each) for each in citations]
                return self._chunk(TextDelta(content=text, annotations=cited or None))
            case Progress():
                status = StatusEvent(data=StatusData(description=delta.words, done=delta.done))
                return f": {delta.comment}\n\n".encode() + self._chunk(TextDelta(), event=status)
            case FollowUps(questions):
                suggested = FollowUpsEvent(data=FollowUpsData(follow_ups=list(questions)))
                return self._chunk(TextDelta(), event=suggested)
            case Ping():
                return b": ping\n\n"

    def _end(self, length: int) -> bytes:
        choice = DeltaChoice(delta=TextDelta(), finish_reason="stop")
        last = _data_event(self._piece([choice]))
        if self.conversation.include_usage:
            last += _data_event(self._piece([], usage=self._usage(length)))
        return last + b"data: [DONE]\n\n"

    def _chunk(self, delta: FirstDelta | TextDelta, event: ChatEvent | None = None) -> bytes:
        return _data_event(self._piece([DeltaChoice(delta=delta, finish_reason=None)], event=event))

    def _piece(
        self, choices: list[DeltaChoice], *, event: ChatEvent | None = None, usage: ChatUsage | None = None
    ) -> ChatChunk:
        if self.conversation.include_usage:
            return ChatChunkWithUsage(**self._common(), choices=choices, event=event, usage=usage)
        return ChatChunk(**self._common(), choices=choices, event=event)

    def _common(self) -> _Common:
        return {
            "id": self.id,
            "created": self.created,
            "model": self.conversation.model,
            "system_fingerprint": self.fingerprint,
        }

    def _usage(self, length: int) -> ChatUsage:
        return ChatUsage.estimate(self.conversation.characters, length)


def log_unexpected(error: Exception) -> Exception:
    """The error itself; logs it if it is not a `NumstabError`."""
    if not isinstance(error, NumstabError):
        logging.getLogger("numstab").error("unforeseen error in a stream", exc_info=error)
    return error


def _data_event(data: Body) -> bytes:
    """A server-sent event without a name."""
    return b"data: %b\n\n" % data.to_json()
