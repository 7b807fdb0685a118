"""Answers without runs, in batches in one thread: the questions of a batch are matched by one matrix product.

A thread for each question, as answers with runs have, would cost more than the answer, because of contention for the
GIL.
"""

import asyncio
import contextvars
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from qa_service.answering.service import MAX_BATCHED_CHARS, Service
from qa_service.lab.runner import overloaded_error
from qa_service.model import Answer, Request

if TYPE_CHECKING:
    from qa_service.server.priority import TextPriority

_MAX_BATCH = 16  # answers
_GATHER_SECONDS = 0.002  # that the thread waits for more questions after a batch of several, never after a single one
_ROUNDS = 4  # iterations of the event loop in which clients get their replies and their next requests are read
_MAX_ROUNDS_SECONDS = 0.05  # the longest that the thread waits for these iterations


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    request: Request
    context: contextvars.Context
    future: asyncio.Future[Answer]


class TextAnswerThread:
    """The thread, which is started by the first question, and its queue of questions."""

    def __init__(self, service: Service, text_priority: "TextPriority") -> None:
        self._service = service
        self._text_priority = text_priority
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @staticmethod
    def accepts(request: Request) -> bool:
        """Whether a request may be answered here: it runs nothing, and is short enough not to delay others."""
        return not request.run and len(request.question) <= MAX_BATCHED_CHARS

    async def answer(self, request: Request) -> Answer:
        """The answer, without evidence, computed in a copy of the caller's context.

        Raises `Overloaded` if no thread can be started, and whatever `Service.answer` raises.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._keep_answering, daemon=True, name="texts")
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                raise overloaded_error(threading.active_count(), 1) from error
            self._thread = thread
        job = _Job(request, contextvars.copy_context(), asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        with self._text_priority.pending():
            return await job.future

    def close(self) -> None:
        """Ends the thread after the queued questions, without waiting for it; the next question starts another."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _keep_answering(self) -> None:
        """Answers the queued questions in batches, until `close`."""
        while (first := self._jobs.get()) is not None:
            jobs = self._with_waiting(first)
            if len(jobs) > 1:
                with suppress(Exception):  # `_result` raises it again for the request at fault
                    self._service.prefetch_matches([job.request for job in jobs])
            results = [(job, job.context.run(self._result, job.request)) for job in jobs]
            handed_over = threading.Event()
            for loop in {job.future.get_loop() for job in jobs}:
                own = [each for each in results if each[0].future.get_loop() is loop]
                with suppress(RuntimeError):  # the loop is closed: the server has stopped
                    loop.call_soon_threadsafe(_deliver, own, handed_over)
            if len(jobs) > 1:  # clients that ask in a loop will then have their next questions in one batch, too
                handed_over.wait(_MAX_ROUNDS_SECONDS)
                time.sleep(_GATHER_SECONDS)

    def _with_waiting(self, first: _Job) -> list[_Job]:
        """The given job and others from the queue, `_MAX_BATCH` at most, without waiting."""
        jobs = [first]
        with suppress(Empty):
            while len(jobs) < _MAX_BATCH:
                job = self._jobs.get_nowait()
                if job is None:
                    self._jobs.put(None)
                    break
                jobs.append(job)
        return jobs

    def _result(self, request: Request) -> Answer | Exception:
        try:
            return self._service.answer(request)
        except Exception as error:  # it concerns only this request of the batch
            return error


def _deliver(results: list[tuple[_Job, Answer | Exception]], handed_over: threading.Event) -> None:
    """Resolves the futures of the jobs that are not cancelled; runs in the event loop.

    Sets `handed_over` after `_ROUNDS` iterations of the loop.
    """
    _count_rounds(_ROUNDS, handed_over)
    for job, result in results:
        if job.future.done():
            continue
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def _count_rounds(rounds: int, passed: threading.Event) -> None:
    """Sets the event after `rounds` further iterations of the event loop."""
    if rounds:
        asyncio.get_running_loop().call_soon(_count_rounds, rounds - 1, passed)
    else:
        passed.set()
