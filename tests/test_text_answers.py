"""Answers without runs, which one thread gives in batches."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import TIMEOUT_SECONDS

from qa_service.errors import EmptyQuestion, Overloaded
from qa_service.model import Answer, Request
from qa_service.model.events import Done
from qa_service.server.priority import TextPriority
from qa_service.server.text_answers import TextAnswerThread
from qa_service.telemetry.request_context import REQUEST_CONTEXT, RequestContext

QUESTIONS = [f"counting numbers one, and question {number}" for number in range(20)]


@pytest.fixture
def batches(toy_service, monkeypatch):
    """The sizes of the batches of questions that the service encodes; the first batch waits until all have been
    asked.
    """
    sizes: list[int] = []
    embedder = toy_service.knowledge.matcher.embedder
    encode, all_asked = embedder.encode_query, threading.Event()

    def counted(texts: list[str]):
        sizes.append(len(texts))
        assert all_asked.wait(TIMEOUT_SECONDS)
        return encode(texts)

    toy_service.ask(Request(question="why"))  # loads what is loaded once
    monkeypatch.setattr(embedder, "encode_query", counted)
    return sizes, all_asked


def ask_together(service, requests: list[Request], all_asked: threading.Event) -> list[Answer | BaseException]:
    """The answers to questions asked at once in one event loop."""

    async def ask(texts: TextAnswerThread, number: int, request: Request) -> Answer:
        REQUEST_CONTEXT.set(RequestContext(f"request-{number}"))
        return await texts.answer(request)

    async def ask_all() -> list[Answer | BaseException]:
        texts = TextAnswerThread(service, TextPriority())
        asking = [asyncio.ensure_future(ask(texts, *each)) for each in enumerate(requests)]
        await asyncio.sleep(0)  # each has handed in its question
        all_asked.set()
        try:
            return await asyncio.gather(*asking, return_exceptions=True)
        finally:
            texts.close()

    with ThreadPoolExecutor(1) as threads:  # a browser's event loop may be running in this one
        return threads.submit(lambda: asyncio.run(ask_all())).result()


def test_questions_asked_together_are_encoded_together(toy_service, batches):
    """A batch has at most sixteen; each answer is the same as if the question were asked alone."""
    sizes, all_asked = batches
    answers = ask_together(toy_service, [Request(question=each, run=False) for each in QUESTIONS], all_asked)
    assert [answer.question for answer in answers] == QUESTIONS
    assert sum(sizes) == len(QUESTIONS)
    assert 1 < max(sizes) <= 16
    alone = [toy_service.ask(Request(question=each)) for each in QUESTIONS]
    assert [answer.matches for answer in answers] == [answer.matches for answer in alone]


def test_a_bad_request_fails_alone(toy_service, batches):
    requests = [Request(question=each, run=False) for each in ("counting one", "?! ", "halving two", "counting three")]
    results = ask_together(toy_service, requests, batches[1])
    assert [isinstance(each, EmptyQuestion) for each in results] == [False, True, False, False]
    assert [each.question for each in results if isinstance(each, Answer)] == [
        "counting one", "halving two", "counting three",
    ]  # fmt: skip


def test_a_matcher_that_fails_is_the_reply_of_every_request(toy_service, batches, monkeypatch):
    """Each request of the batch gets the error, and none waits for ever."""

    def fail(_texts: list[str]):
        raise ArithmeticError

    monkeypatch.setattr(toy_service.knowledge.matcher.embedder, "encode_query", fail)
    results = ask_together(toy_service, [Request(question=each, run=False) for each in QUESTIONS], batches[1])
    assert {type(each) for each in results} == {ArithmeticError}


def test_each_answer_is_given_in_the_context_of_its_request(toy_service, batches):
    """Its line in the log has the id of its own request."""
    seen = {}
    toy_service.subscribe(
        lambda event: isinstance(event, Done) and seen.update({REQUEST_CONTEXT.get().id: event.answer.question})
    )
    ask_together(toy_service, [Request(question=each, run=False) for each in QUESTIONS], batches[1])
    assert seen == {f"request-{number}": question for number, question in enumerate(QUESTIONS)}


def test_without_a_thread_a_request_is_refused(toy_service, batches, monkeypatch):
    """If no thread can be started the request is refused at once, and the next one is answered."""
    requests = [Request(question="counting one", run=False)]
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "texts":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert [type(each) for each in ask_together(toy_service, requests, batches[1])] == [Overloaded]
    assert [each.question for each in ask_together(toy_service, requests, batches[1])] == ["counting one"]


def test_what_may_take_long_is_answered_elsewhere():
    """The thread does not accept requests with runs, nor with logs, which may take seconds to read."""
    assert TextAnswerThread.accepts(Request(question="why nan", run=False))
    assert not TextAnswerThread.accepts(Request(question="why nan"))
    assert not TextAnswerThread.accepts(Request(question="loss nan\n" * 200, run=False))
