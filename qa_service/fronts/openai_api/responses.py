"""The Responses API: the reply as one object, or as its events.

Nothing is stored: `previous_response_id` and `store` are ignored.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from qa_service.fronts.openai_api.chat import encoded_json, estimated_tokens, log_unexpected
from qa_service.fronts.openai_api.conversation import Conversation
from qa_service.fronts.openai_api.errors import openai_error
from qa_service.fronts.openai_api.reply_stream import FollowUps, Ping, Progress, ReplyStream
from qa_service.fronts.openai_api.text import Citation, Passage
from qa_service.server.problems import problem_json


@dataclass(slots=True)
class Response:
    """One reply and its state while it is being written."""

    conversation: Conversation
    id: str = field(default_factory=lambda: f"resp_{uuid4().hex}")
    message_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    text: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    _events: int = 0

    def whole(self, passages: Sequence[Passage]) -> dict[str, Any]:
        """The reply as one object."""
        for passage in passages:
            self._take(passage)
        return self._object("completed")

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

    def _take(self, passage: Passage) -> list[dict[str, Any]]:
        """Appends a passage to the text; returns its annotations."""
        self.text += passage.text
        added = [_url_citation(each) for each in passage.citations]
        self.annotations += added
        return added

    def _encoded(self, delta: Passage | Progress | FollowUps | Ping) -> bytes:
        match delta:
            case Passage():
                place = {"item_id": self.message_id, "output_index": 0, "content_index": 0}
                first = len(self.annotations)
                added = self._take(delta)
                written = self._event("response.output_text.delta", **place, delta=delta.text, logprobs=[])
                return written + b"".join(
                    self._event(
                        "response.output_text.annotation.added",
                        **place, annotation_index=first + index, annotation=annotation,
                    )
                    for index, annotation in enumerate(added)
                )  # fmt: skip
            case Progress():
                return f": {delta.comment}\n\n".encode()
            case FollowUps():
                return b""
            case Ping():
                return b": ping\n\n"

    def _opening(self) -> bytes:
        item = {"type": "message", "id": self.message_id, "status": "in_progress", "role": "assistant", "content": []}
        place = {"item_id": self.message_id, "output_index": 0, "content_index": 0}
        return b"".join([
            self._event("response.created", response=self._object("in_progress")),
            self._event("response.in_progress", response=self._object("in_progress")),
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **place, part=_part("", [])),
        ])  # fmt: skip

    def _closing(self) -> bytes:
        place = {"item_id": self.message_id, "output_index": 0, "content_index": 0}
        return b"".join([
            self._event("response.output_text.done", **place, text=self.text, logprobs=[]),
            self._event("response.content_part.done", **place, part=_part(self.text, self.annotations)),
            self._event("response.output_item.done", output_index=0, item=self._item()),
            self._event("response.completed", response=self._object("completed")),
        ])  # fmt: skip

    def _failure(self, error: Exception, reply: ReplyStream) -> bytes:
        detail = openai_error(problem_json(error, reply.answer.lang))[1].error
        failed = {**self._object("failed"), "error": {"code": "server_error", "message": detail.message}}
        return self._event("error", code=detail.code, message=detail.message, param=detail.param) + self._event(
            "response.failed", response=failed
        )

    def _event(self, name: str, **data: Any) -> bytes:
        event = {"type": name, "sequence_number": self._events, **data}
        self._events += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), encoded_json(event))

    def _item(self) -> dict[str, Any]:
        content = [_part(self.text, self.annotations)]
        return {
            "type": "message", "id": self.message_id, "status": "completed", "role": "assistant", "content": content,
        }  # fmt: skip

    def _object(self, status: str) -> dict[str, Any]:
        is_complete = status == "completed"
        prompt, output = estimated_tokens(self.conversation.characters), estimated_tokens(len(self.text))
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + output,
        }
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "model": self.conversation.model,
            "output": [self._item()] if is_complete else [],
            "usage": usage if is_complete else None,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": self.conversation.metadata,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": None,
        }


def _part(text: str, annotations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def _url_citation(citation: Citation) -> dict[str, Any]:
    return {
        "type": "url_citation",
        "start_index": citation.start,
        "end_index": citation.end,
        "title": citation.title,
        "url": citation.url,
    }
