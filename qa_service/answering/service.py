"""The service, as the fronts use it: a question is parsed, matched and decided, then the planned runs are executed."""

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ulid import ULID

from qa_service.answering import chips
from qa_service.answering.decision import Decision, decide
from qa_service.answering.diagnosing import diagnose_question
from qa_service.answering.execute import execute, execute_alone, execute_without_events
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.planning import PlannedRun
from qa_service.errors import BadField, BadRequest, Unauthorized
from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.clients import CLIENT
from qa_service.lab.runner import Runner, overloaded_error
from qa_service.model import MAX_RUNS, Answer, AnswerStatus, Entry, Request, Text
from qa_service.model.events import AnswerReady, Done, Event
from qa_service.parsing import ParsedQuestion, parse_question
from qa_service.shared_state import SharedState
from qa_service.telemetry.subscribers import Subscribers

MATCH_COUNT = 5
"""The number of nearest entries in an answer."""
MAX_CONCURRENT_MATCHES = 32
"""The largest number of questions parsed and matched at once; further threads wait, as they would only contend for the
interpreter's lock.
"""
MAX_BATCHED_CHARS = 900
"""The length up to which a question is matched together with others; longer ones, such as logs, may take seconds to
read.
"""
RUNS_PER_CHARGE = 10
"""A request counts once against the rate of its client for every so many runs begun; ordinary answers count once."""
_parse_short = lru_cache(64)(parse_question)  # those of one batch, which `prefetch_matches` has parsed already
EventListener = Callable[[Event], None]


def never_cancelled() -> bool:
    """Returns False: the `is_cancelled` of a caller that waits to the end."""
    return False


class Service:
    """Answers questions with evidence. Every method may be called from several threads.

    A method takes the snapshot of knowledge to work with, so that a caller can use the same one before and after; by
    default it is the current one.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        runner: Runner,
        *,
        threshold: float,
        queue: int = 1000,
        shared_runs: SharedState | None = None,
    ) -> None:
        """`threshold` is the probability below which a question is not covered, `queue` how many runs may wait.

        `shared_runs` is the server through which the runner shares runs with other services, if it does.
        """
        self.knowledge = knowledge
        self.runner = runner
        self.threshold = threshold
        self.queue = queue
        self.shared_runs = shared_runs
        self.timings = runner.timings
        self._subscribers = Subscribers[EventListener]()
        self._match_limit = threading.Semaphore(MAX_CONCURRENT_MATCHES)

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """Calls `listener` with every event of every answer and run, in the thread that serves it; returns what
        unsubscribes it.
        """
        return self._subscribers.add(listener)

    def replace_knowledge(self, knowledge: Knowledge) -> None:
        """Sets the snapshot for later questions; an answer in progress keeps the one with which it began."""
        self.knowledge = knowledge

    def ask(self, request: Request, knowledge: Knowledge | None = None) -> Answer:
        """The answer without evidence: runs nothing. Raises `BadRequest`."""
        current = knowledge or self.knowledge
        return _answer(request, self._decide(request, current))

    def prefetch_matches(self, requests: Iterable[Request], knowledge: Knowledge | None = None) -> None:
        """Parses and matches the questions of several requests together, whose answers then take what was found.

        A request that is bad is left out; its answer raises why. The time counts as `matching` once for all.
        """
        questions = []
        for request in requests:
            if request.question or not request.entry:
                with suppress(BadRequest):
                    parsed = _parse(request)
                    questions.append((parsed.text, parsed.observations))
        with self.timings.time("matching"):
            (knowledge or self.knowledge).matcher.match_together(questions, MATCH_COUNT)

    def fold_turns(self, request: Request, turns: Sequence[str], knowledge: Knowledge | None = None) -> Request:
        """The request of the last turn of a conversation, in the context of the turns before it."""
        current = knowledge or self.knowledge
        for turn in turns:
            before = self.ask(replace(request, run=False), current)
            request = replace(request, question=turn, context=before.context)
        return request

    def plan(self, request: Request, knowledge: Knowledge | None = None) -> tuple[Entry, tuple[PlannedRun, ...]]:
        """The entry that a request names, as the answer to its aspect, and the runs it asks for, without running them.

        Raises `BadRequest`.
        """
        current = knowledge or self.knowledge
        entry = current.library[request.entry or ""].focused_on(request.aspect)
        return entry, self._decide(request, current).runs

    def stream(
        self, request: Request, is_cancelled: IsCancelled = never_cancelled, knowledge: Knowledge | None = None
    ) -> Generator[Event, None, None]:
        """The answer at once, then its evidence as it is measured. Raises `BadRequest` before the first event only."""
        yield from self._observed(self._stream(request, is_cancelled, knowledge or self.knowledge))

    def answer(self, request: Request, knowledge: Knowledge | None = None) -> Answer:
        """The whole answer, evidence included."""
        *_, done = self.stream(request, knowledge=knowledge)
        assert isinstance(done, Done)
        return done.answer

    def run(
        self,
        slug: str,
        params: Mapping[str, Any],
        seed: int = 0,
        is_cancelled: IsCancelled = never_cancelled,
        knowledge: Knowledge | None = None,
    ) -> Generator[Event, None, None]:
        """The events of one experiment without claims. Raises `BadRequest` before the first event only."""
        yield from self._observed(self._run(slug, params, seed, is_cancelled, knowledge or self.knowledge))

    def _stream(
        self, request: Request, is_cancelled: IsCancelled, knowledge: Knowledge
    ) -> Generator[Event, None, None]:
        if request.run:
            self._admit()
        with self.timings.time("text"), self._match_limit:
            decision = self._decide(request, knowledge)
            answer = _answer(request, decision)
        runs = bool(decision.runs) and answer.status is AnswerStatus.ANSWERED and request.run
        asked_for, beside = len(decision.runs) * decision.seeds, decision.alternative_runs
        if asked_for + len(beside) > MAX_RUNS:
            beside = ()  # a request is not refused for runs that it did not ask for
        if runs:
            charge_runs(asked_for + len(beside))
        yield AnswerReady(answer)
        if runs:
            evidence = yield from execute(
                decision.runs, answer.entry, self.runner, is_cancelled, seed=decision.seed, seeds=decision.seeds
            )
            of_alternatives = execute_without_events(beside, self.runner, is_cancelled, decision.seed)
            answer = replace(answer, evidence=evidence, alternative_evidence=of_alternatives)
        yield Done(answer, brief=request.brief)

    def _run(
        self, slug: str, params: Mapping[str, Any], seed: int, is_cancelled: IsCancelled, knowledge: Knowledge
    ) -> Generator[Event, None, None]:
        experiment = knowledge.experiment(slug)
        values = fill_defaults(experiment, params)
        self._admit()
        yield from execute_alone(experiment, values, seed, self.runner, is_cancelled)

    def _decide(self, request: Request, knowledge: Knowledge) -> Decision:
        if not request.question and request.entry:
            return decide(request, None, None, knowledge, self.threshold)
        question = _parse(request)
        with self.timings.time("matching"):
            found = knowledge.matcher.match(question.text, MATCH_COUNT, question.observations)
        diagnosis = diagnose_question(request.question) if question.log else None
        return decide(request, question, found, knowledge, self.threshold, diagnosis)

    def _observed(self, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
        with closing(events):
            for event in events:
                for listener in self._subscribers:
                    listener(event)
                yield event

    def _admit(self) -> None:
        """Admits a run: raises `Overloaded` if too many wait, and `Unauthorized` for a client that may only read.

        One client's runs may fill half of the queue, not all of it.
        """
        if not CLIENT.get().may_run:
            raise Unauthorized("ask", known=True)
        if (waiting := self.runner.waiting) >= self.queue:
            raise overloaded_error(waiting, self.runner.slots)
        if waiting and (own := self.runner.waiting_of(CLIENT.get().name)) >= max(1, self.queue // 2):
            raise overloaded_error(own, self.runner.slots)


_FEWER_RUNS = Text("请少取几个种子、少比几个值，或只要几个证据块。", "Use fewer seeds, compared values or blocks.")


def charge_runs(runs: int, advice: Text = _FEWER_RUNS) -> None:
    """Bounds the runs of a request and counts them against the client's rate; raises `BadField` or `RateLimited`."""
    if runs > MAX_RUNS:
        raise BadField(
            zh=f"这要运行 {runs} 次实验，一次最多 {MAX_RUNS} 次。{advice.zh}",
            en=f"this takes {runs} runs; a request may take {MAX_RUNS}. {advice.en}",
            field="seeds",
        )
    if more := (runs - 1) // RUNS_PER_CHARGE:
        CLIENT.get().charge(more)


def _parse(request: Request) -> ParsedQuestion:
    """The question of a request, without the chips that it strikes out; raises `BadRequest`."""
    parse = _parse_short if len(request.question) <= MAX_BATCHED_CHARS else parse_question
    conversation = request.reader_lang or (request.context.lang if request.context else None)
    return chips.remove_chips(parse(request.question, request.lang, conversation), request.removed_chips)


def _answer(request: Request, decision: Decision) -> Answer:
    return Answer(
        id=str(ULID()),
        status=decision.status,
        lang=decision.lang,
        question=request.question,
        entry=decision.entry,
        confidence=decision.matches[0].score if decision.entry or decision.status is not AnswerStatus.ANSWERED else 1.0,
        matches=decision.matches,
        params=decision.params,
        observations=decision.observations,
        used_by=decision.used_by,
        clue=decision.clue,
        log=decision.log,
        notes=decision.notes,
        subject=decision.subject,
        related=decision.related,
        alternatives=decision.alternatives,
        calculation=decision.calculation,
        diagnosis=decision.diagnosis,
        earlier=request.context,
        seed=decision.seed,
        part=decision.part,
        is_follow_up=decision.is_follow_up,
    )
