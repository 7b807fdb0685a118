"""Chat completions: the reply as one object or as a stream of chunks."""

import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from qa_service.errors import NumstabError
from qa_service.fronts.openai_api.conversation import Conversation
from qa_service.fronts.openai_api.errors import openai_error
from qa_service.fronts.openai_api.reply_stream import FollowUps, Ping, Progress, ReplyStream
from qa_service.fronts.openai_api.text import Citation, Passage
from qa_service.server.problems import problem_json

CHARACTERS_PER_TOKEN = 4
"""For `usage`, which is estimated from characters, as nothing here has a tokeniser."""


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

    def whole(self, passages: Sequence[Passage]) -> dict[str, Any]:
        """The reply as one object."""
        text = "".join(passage.text for passage in passages)
        cited = [url_citation(each) for passage in passages for each in passage.citations]
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": cited}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._common("chat.completion"), "choices": [choice], "usage": self._usage(len(text))}

    async def stream(self, reply: ReplyStream) -> AsyncIterator[bytes]:
        """The reply as server-sent events. An error is sent as the last event, without `[DONE]`."""
        yield self._chunk({"role": "assistant", "content": "", "refusal": None})
        length = 0
        try:
            async with aclosing(reply.deltas()) as deltas:
                async for delta in deltas:
                    length += len(delta.text) if isinstance(delta, Passage) else 0
                    yield self._encoded(delta)
        except Exception as error:
            body = openai_error(problem_json(log_unexpected(error), reply.answer.lang))[1]
            yield b"data: %b\n\n" % body.to_json()  # the HTTP status has been sent already
            return
        yield self._end(length)

    async def stream_text(self, text: str) -> AsyncIterator[bytes]:
        """A complete text as server-sent events."""
        yield self._chunk({"role": "assistant", "content": text, "refusal": None})
        yield self._end(len(text))

    def _encoded(self, delta: Passage | Progress | FollowUps | Ping) -> bytes:
        """A delta as server-sent events. Open WebUI shows the field `event`; other clients ignore it."""
        match delta:
            case Passage(text, citations):
                cited = {"annotations": [url_citation(each) for each in citations]} if citations else {}
                return self._chunk({"content": text, **cited})
            case Progress():
                status = {"type": "status", "data": {"description": delta.words, "done": delta.done}}
                return f": {delta.comment}\n\n".encode() + self._chunk({}, event=status)
            case FollowUps(questions):
                event = {"type": "chat:message:follow_ups", "data": {"follow_ups": list(questions)}}
                return self._chunk({}, event=event)
            case Ping():
                return b": ping\n\n"

    def _end(self, length: int) -> bytes:
        last = self._chunk({}, finish="stop")
        if self.conversation.include_usage:
            usage = {**self._common("chat.completion.chunk"), "choices": [], "usage": self._usage(length)}
            last += data_event(usage)
        return last + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None, event: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._common("chat.completion.chunk"), "choices": [choice]}
        if self.conversation.include_usage:
            chunk["usage"] = None
        return data_event(chunk | ({"event": event} if event else {}))

    def _common(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.conversation.model,
            "system_fingerprint": self.fingerprint,
        }

    def _usage(self, length: int) -> dict[str, Any]:
        prompt, completion = estimated_tokens(self.conversation.characters), estimated_tokens(length)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def estimated_tokens(characters: int) -> int:
    """The estimated number of tokens of a text with that many characters, at least one."""
    return max(1, round(characters / CHARACTERS_PER_TOKEN))


def url_citation(citation: Citation) -> dict[str, Any]:
    """A citation as an annotation of a message."""
    place = {"start_index": citation.start, "end_index": citation.end, "title": citation.title, "url": citation.url}
    return {"type": "url_citation", "url_citation": place}


def log_unexpected(error: Exception) -> Exception:
    """The error itself; logs it if it is not a `NumstabError`."""
    if not isinstance(error, NumstabError):
        logging.getLogger("numstab").error("unforeseen error in a stream", exc_info=error)
    return error


def data_event(data: dict[str, Any]) -> bytes:
    """A server-sent event without a name."""
    return b"data: %b\n\n" % encoded_json(data)


def encoded_json(data: dict[str, Any]) -> bytes:
    """JSON in UTF-8; a lone surrogate, which a demo may yield, becomes a question mark."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
