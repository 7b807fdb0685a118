"""The Responses API: the reply as one object, or as its events.

Nothing is stored: `previous_response_id` and `store` are ignored.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, TypedDict
from uuid import uuid4

from qa_service.fronts.openai_api.bodies import (
    AnnotationAdded,
    AnyResponseEvent,
    ItemEvent,
    OutputAnnotation,
    OutputMessage,
    OutputText,
    PartEvent,
    ResponseEvent,
    ResponseFault,
    ResponseObject,
    ResponseUsage,
    StreamFault,
    TextAdded,
    TextDone,
)
from qa_service.fronts.openai_api.chat import log_unexpected
from qa_service.fronts.openai_api.conversation import Conversation
from qa_service.fronts.openai_api.errors import openai_error
from qa_service.fronts.openai_api.reply_stream import FollowUps, Ping, Progress, ReplyStream
from qa_service.fronts.openai_api.text import Passage
from qa_service.server.problems import problem_json


class _Place(TypedDict):
    sequence_number: int
    item_id: str


@dataclass(slots=True)
class Response:
    """One reply and its state while it is being written."""

    conversation: Conversation
    id: str = field(default_factory=lambda: f"resp_{uuid4().hex}")
    message_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    text: str = ""
    annotations: list[OutputAnnotation] = field(default_factory=list)
    _events: int = 0

    def whole(self, passages: Sequence[Passage]) -> ResponseObject:
        """The reply as one object."""
        for passage in passages:
            self._take(passage)
        return self._completed()

    async def stream(self, reply: ReplyStream) -> AsyncIterator[bytes]:
        """The reply as events. An error is sent as the events `error` and `response.failed`."""
        yield self._opening()
        try:
            async with aclosing(reply.deltas()) as deltas:
                async for delta in deltas:
                    yield self._encoded(delta)
        except Exception as error:
            yield self._failure(log_unexpected(error), reply)
            return
        yield self._closing()

    async def stream_text(self, text: str) -> AsyncIterator[bytes]:
        """A complete text as events."""
        yield self._opening() + self._encoded(Passage(text)) + self._closing()

    def _take(self, passage: Passage) -> list[OutputAnnotation]:
        """Appends a passage to the text; returns its annotations."""
        self.text += passage.text
        added = [OutputAnnotation.of(each) for each in passage.citations]
        self.annotations += added
        return added

    def _encoded(self, delta: Passage | Progress | FollowUps | Ping) -> bytes:
        match delta:
            case Passage():
                first = len(self.annotations)
                added = self._take(delta)
                written = _named_event(TextAdded(**self._place(), delta=delta.text))
                return written + b"".join(
                    _named_event(AnnotationAdded(**self._place(), annotation_index=index, annotation=annotation))
                    for index, annotation in enumerate(added, first)
                )
            case Progress():
                return f": {delta.comment}\n\n".encode()
            case FollowUps():
                return b""
            case Ping():
                return b": ping\n\n"

    def _opening(self) -> bytes:
        item = OutputMessage(id=self.message_id, status="in_progress", content=())
        part = OutputText(text="", annotations=())
        return (
            self._event("response.created", self._object("in_progress"))
            + self._event("response.in_progress", self._object("in_progress"))
            + _named_event(ItemEvent(type="response.output_item.added", sequence_number=self._number(), item=item))
            + _named_event(PartEvent(type="response.content_part.added", **self._place(), part=part))
        )

    def _closing(self) -> bytes:
        (item,) = self._completed().output
        (part,) = item.content
        return (
            _named_event(TextDone(**self._place(), text=self.text))
            + _named_event(PartEvent(type="response.content_part.done", **self._place(), part=part))
            + _named_event(ItemEvent(type="response.output_item.done", sequence_number=self._number(), item=item))
            + self._event("response.completed", self._completed())
        )

    def _failure(self, error: Exception, reply: ReplyStream) -> bytes:
        detail = openai_error(problem_json(error, reply.answer.lang))[1].error
        fault = StreamFault(
            sequence_number=self._number(), code=detail.code, message=detail.message, param=detail.param
        )
        failed = self._object("failed", ResponseFault(message=detail.message))
        return _named_event(fault) + self._event("response.failed", failed)

    def _event(
        self,
        name: Literal["response.created", "response.in_progress", "response.completed", "response.failed"],
        response: ResponseObject,
    ) -> bytes:
        return _named_event(ResponseEvent(type=name, sequence_number=self._number(), response=response))

    def _place(self) -> _Place:
        return {"sequence_number": self._number(), "item_id": self.message_id}

    def _number(self) -> int:
        """The number of the next event, from 0."""
        self._events += 1
        return self._events - 1

    def _completed(self) -> ResponseObject:
        part = OutputText(text=self.text, annotations=tuple(self.annotations))
        item = OutputMessage(id=self.message_id, status="completed", content=(part,))
        usage = ResponseUsage.estimate(self.conversation.characters, len(self.text))
        return self._object("completed").model_copy(update={"output": (item,), "usage": usage})

    def _object(
        self, status: Literal["in_progress", "completed", "failed"], error: ResponseFault | None = None
    ) -> ResponseObject:
        return ResponseObject(
            id=self.id,
            created_at=self.created,
            status=status,
            model=self.conversation.model,
            error=error,
            metadata=self.conversation.metadata,
        )


def _named_event(event: AnyResponseEvent) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.type.encode(), event.to_json())
