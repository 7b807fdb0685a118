"""What the HTTP fronts share: blocking events as an async stream that ends with its reader, bodies, errors."""

import asyncio
import contextvars
import json
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from qa_service.errors import BadField, BadText, BodyTooLarge, ShuttingDown
from qa_service.lab.cancellation import CancelToken
from qa_service.lab.runner import Cancelled
from qa_service.model import Lang
from qa_service.model.events import AnswerReady, Event
from qa_service.parsing import language as question_language
from qa_service.schemas.values import Body
from qa_service.server.priority import TEXTS_FIRST
from qa_service.server.problems import ClientDisconnected, language, problem  # noqa: F401

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

LARGEST_BODY = 1 << 20
"""Bytes of a request; a question of the greatest length, in JSON escapes, fits."""
Events = Callable[[Callable[[], bool]], Iterator[Event]]
"""Given `stopped`, the events of one answer or run, blocking."""
Encode = Callable[[Event], tuple[str, Body]]
"""An event as its name and data."""
_LOOK_UP = 1.0  # seconds between looks at whether the server is about to stop
_PING = 15.0  # seconds of silence after which a comment keeps the connection open
_STREAM = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class ShutdownDeadline:
    """Whether the server has been told to stop, and until when a stream may go on."""

    def __init__(self) -> None:
        self.at: float | None = None

    def within(self, seconds: float) -> None:
        """Streams end within so many seconds from now."""
        self.at = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether that time has passed."""
        return self.at is not None and time.monotonic() > self.at


CLOSING = ShutdownDeadline()


class SSEResponse(StreamingResponse):
    """Server-sent events as bytes. The framework's own way encodes and hands on each event by itself, at ten times the
    cost (`python -m bench load`).
    """

    media_type = "text/event-stream"


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer or a run that has begun: its first event is there, the rest come as they happen."""

    first: Event
    rest: AsyncGenerator[list[Event], None]

    async def collect(self, http: "HttpRequest") -> Event:
        """Its last event; what runs ends when the reader does not wait for it. Raises what went wrong."""
        collect = self.first
        leaves = asyncio.ensure_future(_wait_for_disconnect(http))
        try:
            while True:
                coming = asyncio.ensure_future(anext(self.rest, None))
                await asyncio.wait({coming, leaves}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    raise ClientDisconnected
                if (batch := coming.result()) is None:
                    return collect
                collect = batch[-1] if batch else collect
        finally:
            leaves.cancel()

    def respond(self, encode: Encode, lang: Lang) -> SSEResponse:
        """All of it as server-sent events."""
        return SSEResponse(self._written(encode, lang), headers=_STREAM)

    async def _written(self, encode: Encode, lang: Lang) -> AsyncIterator[bytes]:
        """What has happened since the last piece is one piece. Once the first is out a failure can have no status: the
        stream itself says it.
        """
        silent = 0.0
        try:
            yield _sse(*encode(self.first))
            await TEXTS_FIRST.wait_for_texts()
            async for batch in self.rest:
                silent = 0.0 if batch else silent + _LOOK_UP
                if CLOSING.over:
                    raise ShuttingDown
                if batch:
                    yield b"".join([_sse(*encode(event)) for event in batch])
                elif silent >= _PING:
                    silent = 0.0
                    yield b": ping\n\n"
        except Exception as error:
            yield _sse("error", problem(error, lang))
        finally:
            await self.rest.aclose()


async def open_stream(events: Events) -> EventStream:
    """Runs a blocking generator in a thread of its own. When the reader leaves, the experiment's child dies with it.

    An error before the first event is raised here, so that a front can still answer with a status.
    """
    batches = _iterate_in_thread(events)
    with TEXTS_FIRST.pending():
        async for batch in batches:
            if batch:
                return EventStream(batch[0], _rest(batch[1:], batches))
    raise AssertionError("no events")


async def _rest(begun: list[Event], batches: AsyncGenerator[list[Event], None]) -> AsyncGenerator[list[Event], None]:
    try:
        if begun:
            yield begun
        async for batch in batches:
            yield batch
    finally:
        await batches.aclose()


async def _iterate_in_thread(events: Events) -> AsyncGenerator[list[Event], None]:
    """Lists of what has happened meanwhile; an empty one where that is nothing for a second."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()
    heard: deque[Event] = deque()
    leaving, ended = CancelToken(), _Ended()

    def wake() -> None:
        if not leaving():
            with suppress(RuntimeError):  # the loop is closed: the server has gone
                loop.call_soon_threadsafe(news.set)

    def work() -> None:
        try:
            for event in events(leaving):
                heard.append(event)
                if len(heard) == 1:  # else the reader has been told already
                    wake()
                if isinstance(event, AnswerReady):
                    TEXTS_FIRST.wait_for_texts_blocking()
                if leaving():
                    return
        except Cancelled:
            pass
        except Exception as error:
            ended.error = error
        ended.over = True
        wake()

    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="answer").start()
    try:
        while True:
            over = ended.over  # before the events: none comes after it
            batch = [heard.popleft() for _ in range(len(heard))]
            if batch:
                yield batch
            elif over:
                break
            else:
                try:
                    async with asyncio.timeout(_LOOK_UP):
                        await news.wait()
                except TimeoutError:
                    yield []
                news.clear()
        if ended.error is not None:
            raise ended.error
    finally:
        leaving.cancel()


@dataclass(slots=True)
class _Ended:
    over: bool = False
    error: Exception | None = None


async def _wait_for_disconnect(http: "HttpRequest") -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _sse(name: str, data: Body) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.to_json())


async def read_json(http: "HttpRequest", empty: Any = None) -> Any:
    """The body as JSON; raises `BadText` or `BadField`. Remembers its `lang`, so that errors come in it."""
    data = b""
    try:
        async for chunk in http.stream():
            data += chunk
            if len(data) > LARGEST_BODY:
                most = LARGEST_BODY
                raise BodyTooLarge(
                    zh=f"请求体太大，最多 {most} 字节", en=f"the body is too large; at most {most} bytes", field="body"
                )
    except ClientDisconnect:
        raise ClientDisconnected from None
    if not data and empty is not None:
        return empty
    try:
        body = json.loads(data.decode("utf-8"))
        if b"\\ud" in data.lower():  # half a character, which no text has, nor could a reply repeat it
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise BadText(zh="请求体不是 UTF-8 文本", en="the body is not text in UTF-8", field="body") from None
    except (ValueError, RecursionError):
        raise BadField(zh="请求体不是合法的 JSON", en="the body is not valid JSON", field="body") from None
    if isinstance(body, dict) and body.get("lang") in ("zh", "en"):
        http.state.lang = body["lang"]
    elif isinstance(body, dict) and isinstance(body.get("question"), str):
        http.state.lang = question_language(body["question"])
    return body
