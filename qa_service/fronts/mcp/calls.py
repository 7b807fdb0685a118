"""A request in progress: a blocking function in a thread of its own, which reports progress and can be cancelled."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Protocol, TypeVar

from qa_service.lab.cancellation import CancelToken
from qa_service.lab.runner import Cancelled, overloaded
from qa_service.model import Lang, Text
from qa_service.model.events import Event, Queued, RowMeasured, Started

T = TypeVar("T")

SESSION_HEADER = "mcp-session-id"
"""The header in which a client of the older specification sends its secret name."""
_REPORT_SECONDS = 0.1  # between two reports of progress, at least
_SILENCE_SECONDS = 5.0  # after which something is reported although nothing has happened: clients give up on silence
_PREPARING = Text(
    "{seconds} 秒：正在准备。头一次提问要先训练分类器，需要几分钟。",
    "{seconds} s: preparing. The first question ever trains the classifier, which takes some minutes.",
)
_STILL = Text("{seconds} 秒：{last}", "{seconds} s: {last}")
_STARTED = Text("开始运行 {id}", "running {id}")
_ROW = Text("{id}：第 {rows} 行", "{id}: row {rows}")
_QUEUED = Text("{id}：前面还有 {before} 个运行", "{id}: {before} runs wait before it")


class CallsInProgress:
    """The calls of clients that can cancel them by another request, by the client's secret name and the request's id.

    Used in one event loop.
    """

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int | str], ToolCall] = {}

    @contextmanager
    def keep(self, session: str, request: int | str | None, call: "ToolCall") -> Iterator[None]:
        """Keeps a call as long as the block runs; one without a session is not kept."""
        key = (session, request if request is not None else "")
        if session:
            self._calls[key] = call
        try:
            yield
        finally:
            if self._calls.get(key) is call:
                del self._calls[key]

    def cancel(self, session: str, request: int | str) -> None:
        """Cancels the call, if it is in progress here."""
        if call := self._calls.get((session, request)):
            call.is_cancelled.cancel()


class Report(Protocol):
    """Sends the client a report of progress; `progress` grows from one to the next."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...


class ToolCall:
    """What a tool sees of the request that it serves. `lang` is the language of messages."""

    def __init__(self, lang: Lang) -> None:
        self.lang = lang
        self.is_cancelled = CancelToken()
        self.events = 0
        """How many events have happened."""
        self.message = ""
        """What happened last; "" before anything has."""
        self._rows = 0
        self._wake: Callable[[], None] = lambda: None

    def last(self, events: Generator[Event, None, object]) -> Event:
        """Waits for the last event; raises `Cancelled` once the request is cancelled, and ends its run."""
        latest: Event | None = None
        with closing(events):
            for latest in events:
                self._note(latest)
                if self.is_cancelled():
                    raise Cancelled
        assert latest is not None
        return latest

    def _note(self, event: Event) -> None:
        self.events += 1
        match event:
            case Started():
                self._rows = 0
                self.message = _STARTED[self.lang].format(id=event.experiment.slug)
                self._wake()
            case RowMeasured():
                self._rows += 1
                self.message = _ROW[self.lang].format(id=event.id, rows=self._rows)
            case Queued():
                self.message = _QUEUED[self.lang].format(id=event.id, before=event.position - 1)

    async def run(self, work: Callable[["ToolCall"], T], report: Report) -> T:
        """The result of `work(self)`, or its exception; `Cancelled` once the call is cancelled. If this coroutine is
        cancelled, so is the work.
        """
        loop = asyncio.get_running_loop()
        changed, result = asyncio.Event(), loop.create_future()

        def to_loop(function: Callable[[], object]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(function)

        def set_result(value: T | None, error: Exception | None) -> None:
            if not result.done() and not self.is_cancelled():  # else nobody waits
                result.set_exception(error) if error else result.set_result(value)
            changed.set()

        def in_thread() -> None:
            value, error = None, None
            try:
                value = work(self)
            except Exception as raised:
                error = raised
            to_loop(lambda: set_result(value, error))

        self._wake = lambda: to_loop(changed.set)
        context = contextvars.copy_context()  # says whose request it is
        try:
            threading.Thread(target=context.run, args=(in_thread,), daemon=True, name="answer").start()
        except (RuntimeError, MemoryError) as error:
            raise overloaded(threading.active_count(), 1) from error
        try:
            await self._follow(changed, result, report)
        finally:
            self.is_cancelled.cancel()
        answer: T = result.result()
        return answer

    async def _follow(self, changed: asyncio.Event, result: "asyncio.Future[T]", report: Report) -> None:
        """Reports progress until there is a result."""
        begun = reported = time.monotonic()
        seen, beats = 0, 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REPORT_SECONDS):
                    await changed.wait()
            changed.clear()
            if result.done():
                return
            if self.is_cancelled():
                raise Cancelled
            now = time.monotonic()
            if self.events > seen and self.message:
                seen, reported = self.events, now
                await report(seen + beats, None, self.message)
            elif now - reported >= _SILENCE_SECONDS:
                beats, reported = beats + 1, now
                await report(seen + beats, None, self._silence(round(now - begun)))

    def _silence(self, seconds: int) -> str:
        if not self.message:
            return _PREPARING[self.lang].format(seconds=seconds)
        return _STILL[self.lang].format(seconds=seconds, last=self.message)
