"""What the HTTP fronts share: blocking events as an async stream that ends with its reader, bodies, errors."""

import asyncio
import contextvars
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from qa_service.correlation import TICKET
from qa_service.errors import BadField, BadText, BodyTooLarge, NumstabError, ShuttingDown
from qa_service.events import Event
from qa_service.lab import Stopped
from qa_service.model import Lang
from qa_service.reading import language as question_language

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

LARGEST_BODY = 1 << 20
"""Bytes of a request; a question of the greatest length, in JSON escapes, fits."""
Events = Callable[[Callable[[], bool]], Iterator[Event]]
"""Given `stopped`, the events of one answer or run, blocking."""
_END = object()
_LOOK_UP = 0.5  # seconds between looks at whether the server is about to stop


class _Closing:
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


CLOSING = _Closing()


async def pump(events: Events) -> AsyncIterator[Event]:
    """Runs a blocking generator in a thread of its own. When the reader leaves, the experiment's child dies with it.

    An error before the first event is raised by the first `anext`, so that a front can still answer with a status.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    gone = threading.Event()

    def put(item: Any) -> None:
        if not gone.is_set():
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        try:
            for event in events(gone.is_set):
                put(event)
                if gone.is_set():
                    return
            put(_END)
        except Stopped:
            return
        except Exception as error:
            put(error)

    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="answer").start()
    try:
        while (item := await queue.get()) is not _END:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        gone.set()


async def relay(
    first: Event, rest: AsyncIterator[Event], encode: Callable[[Event], tuple[str, dict[str, Any]]], lang: Lang
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Events as names and data. Once the first is out a failure can have no status: the stream itself says it."""
    try:
        yield encode(first)
        async for event in _while_open(rest):
            yield encode(event)
    except Exception as error:
        yield "error", problem(error, lang)


async def _while_open(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """Events, until the server must stop; raises `ShuttingDown` then."""
    while True:
        coming = asyncio.ensure_future(anext(events, _END))
        try:
            while not coming.done():
                if CLOSING.over:
                    raise ShuttingDown
                await asyncio.wait({coming}, timeout=_LOOK_UP)
        finally:
            coming.cancel()
        event = coming.result()
        if event is _END:
            return
        yield event  # type: ignore[misc]  # everything else is an event


async def read_json(http: "HttpRequest", empty: Any = None) -> Any:
    """The body as JSON; raises `BadText` or `BadField`. Remembers its `lang`, so that errors come in it."""
    data = b""
    async for chunk in http.stream():
        data += chunk
        if len(data) > LARGEST_BODY:
            most = LARGEST_BODY
            raise BodyTooLarge(
                zh=f"请求体太大，最多 {most} 字节", en=f"the body is too large; at most {most} bytes", field="body"
            )
    if not data and empty is not None:
        return empty
    try:
        body = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadText(zh="请求体不是 UTF-8 文本", en="the body is not text in UTF-8", field="body") from None
    except (ValueError, RecursionError):
        raise BadField(zh="请求体不是合法的 JSON", en="the body is not valid JSON", field="body") from None
    if isinstance(body, dict) and body.get("lang") in ("zh", "en"):
        http.state.lang = body["lang"]
    elif isinstance(body, dict) and isinstance(body.get("question"), str):
        http.state.lang = question_language(body["question"])
    return body


def language(http: "HttpRequest") -> Lang:
    """What an error should be written in: the request's language, else the browser's, else English."""
    lang: Lang | None = getattr(http.state, "lang", None)
    if lang is None and http.query_params.get("lang") in ("zh", "en"):
        lang = "zh" if http.query_params["lang"] == "zh" else "en"
    if lang is None:
        first = http.headers.get("accept-language", "").split(",")[0].strip().lower()
        lang = "zh" if first.startswith("zh") else "en"
    return lang


def problem(error: Exception, lang: Lang) -> dict[str, Any]:
    """The body of an error: a stable code for programs, a sentence in the reader's language, nothing of our insides."""
    if not isinstance(error, NumstabError):
        error = NumstabError(
            zh="服务出了内部错误，问题已记录。请再试一次。",
            en="Something broke on our side and was logged. Please try again.",
        )
    body: dict[str, Any] = {
        "type": f"/errors/{error.code}",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error[lang],
    }
    if (ticket := TICKET.get()) is not None:
        body["request_id"] = ticket.id
    return body | ({"field": error.field} if error.field else {})
