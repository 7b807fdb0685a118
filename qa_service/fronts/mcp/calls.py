"""A request in progress: a blocking function in a thread of its own, which reports progress and can be cancelled."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Protocol, TypeVar

from qa_service.lab.cancellation import CancelToken
from qa_service.lab.runner import Cancelled, overloaded_error
from qa_service.model import Lang, Text
from qa_service.model.events import Event, Queued, RowMeasured, Started

T = TypeVar("T")

SESSION_HEADER = "mcp-session-id"
"""The header in which a client of the specification 2025-11-25 sends its session id."""
_REPORT_SECONDS = 0.1  # the least time between two reports of progress
_SILENCE_SECONDS = 5.0  # without an event, after which progress is reported all the same, as clients time out
_PREPARING = Text(
    "{seconds} 秒：正在准备。头一次提问要先训练分类器，需要几分钟。",
    "{seconds} s: preparing. The first question ever trains the classifier, which takes some minutes.",
)
_STILL = Text("{seconds} 秒：{last}", "{seconds} s: {last}")
_STARTED = Text("开始运行 {id}", "running {id}")
_ROW = Text("{id}：第 {rows} 行", "{id}: row {rows}")
_QUEUED = Text("{id}：前面还有 {before} 个运行", "{id}: {before} runs wait before it")


class CallsInProgress:
    """The calls that another request can cancel, by session id and request id. Used in one event loop."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int | str], ToolCall] = {}

    @contextmanager
    def registered(self, session: str, request: int | str | None, call: "ToolCall") -> Iterator[None]:
        """Registers a call for the duration of the block; does nothing without a session."""
        key = (session, request if request is not None else "")
        if session:
            self._calls[key] = call
        try:
            yield
        finally:
            if self._calls.get(key) is call:
                del self._calls[key]

    def cancel(self, session: str, request: int | str) -> None:
        """Cancels the call if it is in progress in this process."""
        if call := self._calls.get((session, request)):
            call.is_cancelled.cancel()


class ProgressReporter(Protocol):
    """Sends the client a report of progress; `progress` must increase with each report."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...


class ToolCall:
    """A tool's view of its request: cancellation and progress. `lang` is the language of messages."""

    def __init__(self, lang: Lang) -> None:
        self.lang = lang
        self.is_cancelled = CancelToken()
        self.events = 0
        """The number of events so far."""
        self.message = ""
        """A description of the last event; "" before the first."""
        self._rows = 0
        self._wake: Callable[[], None] = lambda: None

    def wait_for_last(self, events: Generator[Event, None, object]) -> Event:
        """Waits for the last event. Raises `Cancelled`, after ending the run, once the request is cancelled."""
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

    async def run(self, work: Callable[["ToolCall"], T], report: ProgressReporter) -> T:
        """The result of `work(self)`, executed in a thread; raises its exception, or `Cancelled` if it is cancelled.

        If this coroutine is cancelled, so is the work. Raises `Overloaded` if no thread can be started.
        """
        loop = asyncio.get_running_loop()
        changed, result = asyncio.Event(), loop.create_future()

        def to_loop(function: Callable[[], object]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                loop.call_soon_threadsafe(function)

        def set_result(value: T | None, error: Exception | None) -> None:
            if not result.done() and not self.is_cancelled():
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
        context = contextvars.copy_context()  # with the client (`CLIENT`) and the request's id
        try:
            threading.Thread(target=context.run, args=(in_thread,), daemon=True, name="answer").start()
        except (RuntimeError, MemoryError) as error:
            raise overloaded_error(threading.active_count(), 1) from error
        try:
            await self._follow(changed, result, report)
        finally:
            self.is_cancelled.cancel()
        answer: T = result.result()
        return answer

    async def _follow(self, changed: asyncio.Event, result: "asyncio.Future[T]", report: ProgressReporter) -> None:
        """Reports progress until there is a result; raises `Cancelled` if the call is cancelled before."""
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
        """The message of a report without a new event."""
        if not self.message:
            return _PREPARING[self.lang].format(seconds=seconds)
        return _STILL[self.lang].format(seconds=seconds, last=self.message)
