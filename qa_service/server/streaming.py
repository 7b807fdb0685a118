"""Event streams over HTTP, which are cancelled when the client disconnects; reading of request bodies."""

import asyncio
import contextvars
import json
import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from qa_service.errors import BadField, BadText, BodyTooLarge, NumstabError, ShuttingDown
from qa_service.lab.cancellation import CancelToken
from qa_service.lab.runner import Cancelled, overloaded_error
from qa_service.model import Lang
from qa_service.model.events import AnswerReady, Event
from qa_service.schemas.values import Body
from qa_service.server.priority import TextPriority
from qa_service.server.problems import ClientDisconnected, problem_json
from qa_service.server.responses import accepts_gzip

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

logger = logging.getLogger("numstab")
MAX_BODY_BYTES = 1 << 20
"""The largest request body, in bytes; the longest question allowed fits in it as UTF-8."""
EventSource = Callable[[Callable[[], bool]], Iterator[Event]]
"""Called with a function that says whether the stream is cancelled; returns a blocking iterator over its events."""
EventEncoder = Callable[[Event], tuple[str, Body]]
"""Event → its name and data as JSON."""
_POLL_SECONDS = 1.0  # between two checks whether the server is shutting down
_PING_SECONDS = 15.0  # without an event, after which a comment is sent, as proxies close idle connections
_GZIP_LEVEL = 4  # an answer of 180 kB becomes some 25 kB in milliseconds; higher levels gain little
_SSE_HEADERS = {"Vary": "Accept-Encoding", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class ShutdownDeadline:
    """The time at which the streams of an application must end; none until the server is told to stop."""

    def __init__(self) -> None:
        self._at: float | None = None

    def set(self, seconds: float) -> None:
        """Sets the deadline, in seconds from now."""
        self._at = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether there is a deadline and it has passed."""
        return self._at is not None and time.monotonic() > self._at


class SSEResponse(StreamingResponse):
    """Server-sent events that are already encoded.

    FastAPI's own class encodes and sends each event separately, at ten times the cost (`python -m bench load`).
    """

    media_type = "text/event-stream"


@dataclass(frozen=True, slots=True)
class EventStream:
    """The events of an answer or a run in progress: the first, and the others in batches.

    A batch holds the events since the one before; after a second without any it is empty.
    """

    first: Event
    rest: AsyncGenerator[list[Event], None]
    text_priority: TextPriority
    shutdown: ShutdownDeadline
    accepts_gzip: bool

    async def collect(self, http: "HttpRequest") -> Event:
        """Waits for the end and returns the last event. Raises `ClientDisconnected`, or the error of the source."""
        last = self.first
        disconnect = asyncio.ensure_future(_wait_for_disconnect(http))
        try:
            while True:
                coming = asyncio.ensure_future(anext(self.rest, None))
                await asyncio.wait({coming, disconnect}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    raise ClientDisconnected
                if (batch := coming.result()) is None:
                    return last
                last = batch[-1] if batch else last
        finally:
            disconnect.cancel()

    def respond(self, encode: EventEncoder, lang: Lang) -> SSEResponse:
        """All events as server-sent events; `lang` is the language of an error in the middle of the stream."""
        events = self._encode(encode, lang)
        if not self.accepts_gzip:
            return SSEResponse(events, headers=_SSE_HEADERS)
        return SSEResponse(_gzip(events), headers=_SSE_HEADERS | {"Content-Encoding": "gzip"})

    async def _encode(self, encode: EventEncoder, lang: Lang) -> AsyncIterator[bytes]:
        """One chunk for each batch. An error is sent as an event, because the HTTP status has been sent already."""
        silent = 0.0
        try:
            yield _sse(*encode(self.first))
            await self.text_priority.wait_for_pending_texts()
            async for batch in self.rest:
                silent = 0.0 if batch else silent + _POLL_SECONDS
                if self.shutdown.passed:
                    raise ShuttingDown
                if batch:
                    yield b"".join([_sse(*encode(event)) for event in batch])
                elif silent >= _PING_SECONDS:
                    silent = 0.0
                    yield b": ping\n\n"
        except Exception as error:
            if not isinstance(error, NumstabError):
                logger.exception("unforeseen error in a stream")
            yield _sse("error", problem_json(error, lang))
        finally:
            await self.rest.aclose()


async def open_stream(http: "HttpRequest", events: EventSource) -> EventStream:
    """Runs a blocking generator in a thread of its own, and returns once it has yielded the first event.

    Raises an error that occurs before that, so that the front can still answer with an HTTP status.
    """
    shared = http.app.state
    batches = _iterate_in_thread(events, shared.text_priority)
    with shared.text_priority.pending():
        async for batch in batches:
            if batch:
                rest = _rest(batch[1:], batches)
                return EventStream(
                    batch[0], rest, shared.text_priority, shared.shutdown, accepts_gzip=accepts_gzip(http.headers)
                )
    raise AssertionError("no events")


async def _gzip(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compresses the chunks as one gzip stream, flushed after each, so that the client can decode it at once."""
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=31)
    async for chunk in chunks:
        yield compressor.compress(chunk) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


async def _rest(begun: list[Event], batches: AsyncGenerator[list[Event], None]) -> AsyncGenerator[list[Event], None]:
    """The batches after the first event: the rest of its own batch, if any, then the others."""
    try:
        if begun:
            yield begun
        async for batch in batches:
            yield batch
    finally:
        await batches.aclose()


async def _iterate_in_thread(events: EventSource, text_priority: TextPriority) -> AsyncGenerator[list[Event], None]:
    """Runs the event source in a thread; yields its events in batches, and an empty one after each second without any.

    Raises the error of the event source after its last event. Cancels it when this generator is closed.
    """
    producer = _EventProducer(events, text_priority, asyncio.get_running_loop())
    producer.start()
    try:
        while True:
            finished = producer.finished  # read before the events: none is added once it is true
            batch = producer.take()
            if batch:
                yield batch
            elif finished:
                break
            elif not await producer.wait(_POLL_SECONDS):
                yield []
        if producer.error is not None:
            raise producer.error
    finally:
        producer.cancel()


class _EventProducer:
    """Runs a blocking generator in a thread of its own and passes its events to an event loop."""

    def __init__(self, events: EventSource, text_priority: TextPriority, loop: asyncio.AbstractEventLoop) -> None:
        self._events = events
        self._text_priority = text_priority
        self._loop = loop
        self._pending: deque[Event] = deque()
        self._news = asyncio.Event()
        self._cancelled = CancelToken()
        self.finished = False
        self.error: Exception | None = None

    def start(self) -> None:
        """Starts the thread, in a copy of the caller's context; raises `Overloaded` if no thread can be started."""
        work = contextvars.copy_context().run
        try:
            threading.Thread(target=work, args=(self._work,), daemon=True, name="answer").start()
        except (RuntimeError, MemoryError) as error:
            raise overloaded_error(threading.active_count(), 1) from error

    def take(self) -> list[Event]:
        """The events since the last call."""
        return [self._pending.popleft() for _ in range(len(self._pending))]

    async def wait(self, seconds: float) -> bool:
        """Waits for an event or the end; False after `seconds` without either."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        finally:
            self._news.clear()
        return True

    def cancel(self) -> None:
        """Cancels the generator, which kills the child process of its run."""
        self._cancelled.cancel()

    def _work(self) -> None:
        """Iterates over the generator in the thread; after the text it waits until no other text is pending."""
        try:
            for event in self._events(self._cancelled):
                self._pending.append(event)
                if len(self._pending) == 1:  # if there are more, the loop has already been woken
                    self._wake()
                if isinstance(event, AnswerReady):
                    self._text_priority.wait_for_pending_texts_blocking()
                if self._cancelled():
                    return
        except Cancelled:
            pass
        except Exception as error:
            self.error = error
        self.finished = True
        self._wake()

    def _wake(self) -> None:
        if not self._cancelled():
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                self._loop.call_soon_threadsafe(self._news.set)


async def _wait_for_disconnect(http: "HttpRequest") -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _sse(name: str, data: Body) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.to_json())


async def read_json(http: "HttpRequest", empty: Any = None) -> Any:
    """The body as JSON, or `empty` for no body; raises `BodyTooLarge`, `BadText` or `BadField`.

    Sets `http.state.lang` or `http.state.question`, by which later errors have the language of the body.
    """
    data = await read_bytes(http, MAX_BODY_BYTES)
    return empty if not data and empty is not None else parse_json(http, data)


async def read_bytes(http: "HttpRequest", limit: int) -> bytes:
    """The body; raises `BodyTooLarge` for more than `limit` bytes."""
    data = bytearray()
    try:
        async for chunk in http.stream():
            data += chunk
            if len(data) > limit:
                raise BodyTooLarge(
                    zh=f"请求体太大，最多 {limit} 字节",
                    en=f"the body is too large; at most {limit} bytes",
                    field="body",
                )
    except ClientDisconnect:
        raise ClientDisconnected from None
    return bytes(data)


def parse_json(http: "HttpRequest", data: bytes) -> Any:
    """The body `data` as JSON, as in `read_json`."""
    try:
        body = json.loads(data.decode("utf-8"))
        if b"\\ud" in data.lower():  # a lone surrogate cannot be encoded as UTF-8, so no response could quote it
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise BadText(zh="请求体不是 UTF-8 文本", en="the body is not text in UTF-8", field="body") from None
    except (ValueError, RecursionError):
        raise BadField(zh="请求体不是合法的 JSON", en="the body is not valid JSON", field="body") from None
    if isinstance(body, dict) and body.get("lang") in ("zh", "en"):
        http.state.lang = body["lang"]
    elif isinstance(body, dict) and isinstance(body.get("question"), str):
        http.state.question = body["question"]
    return body
