"""The three parts joined: ask finds who answers, stream measures and judges. Values flow; nothing registers."""

import copy
import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from ulid import ULID

from qa_service.answering import followups as following
from qa_service.answering.planning import PlannedRun, blocks, check_known, companion_runs, plan_block
from qa_service.errors import Overloaded
from qa_service.experiments.parameters import fill_defaults
from qa_service.knowledge.library import Library
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.runner import ONE_SHOT, ProcessRunner, QueuePosition, Runner
from qa_service.lab.single_flight import SharedRunner
from qa_service.lab.snapshot import Stocked
from qa_service.model import (
    Answer,
    AnswerStatus,
    Entry,
    Evidence,
    Experiment,
    Match,
    NamedValues,
    Params,
    Request,
    Run,
    Spread,
    Text,
    run_id,
)
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, Queued, RowMeasured, Started
from qa_service.parsing import ParsedQuestion, parse_question
from qa_service.retrieval.embedder import Embedder, load_embedder
from qa_service.retrieval.matcher import Matcher
from qa_service.settings import Settings
from qa_service.telemetry.subscribers import Subscribers

MATCHES = 5
AMBIGUITY_MARGIN, CLEAR_MATCH = 0.01, 0.8
_SECONDS_A_RUN = 0.2  # roughly, to say when to come again
MAX_CONCURRENT_MATCHES = 32  # questions read and matched at once: the threads of a crowd wait here, not for each other
NO_CONTEXT_NOTE = Text(
    "这句话像是接着上文问的，可是没有上文：它说的是哪个问题？",
    "This seems to follow a question, but none came before it: what does it refer to?",
)
IsCancelled = Callable[[], bool]


class Service:
    """Answers questions with evidence. Every method may be called from several threads."""

    def __init__(
        self,
        library: Library,
        matcher: Matcher,
        lab: Runner,
        *,
        threshold: float,
        queue: int = 1000,
    ) -> None:
        """`threshold` is the confidence below which a question is not covered, `queue` how many runs may wait."""
        self.library = library
        self.matcher = matcher
        self.lab = lab
        self.threshold = threshold
        self.queue = queue
        self.stages = lab.stages
        self._subscribers = Subscribers[Callable[[Event], None]]()
        self._renewing = threading.Lock()
        self._match_limit = threading.Semaphore(MAX_CONCURRENT_MATCHES)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `listener` with every event of every answer and run from now on; returns what unsubscribes it."""
        return self._subscribers.add(listener)

    def replace_knowledge(self, library: Library, matcher: Matcher, experiments: Mapping[str, Experiment]) -> None:
        """Other knowledge from the next question on; an answer that has begun ends with what it began with."""
        with self._renewing:
            runner = self.lab.runner if isinstance(self.lab, Stocked) else self.lab
            self.library, self.matcher, self.lab = library, matcher, Stocked(runner, experiments)

    def _now(self) -> "Service":
        """The service as it stands: library, matcher and experiments of one reading."""
        with self._renewing:
            return copy.copy(self)

    def ask(self, request: Request) -> Answer:
        """Who answers, without evidence: never runs code. Raises `BadRequest`."""
        return self._now()._ask(request)

    def _ask(self, request: Request) -> Answer:
        lang = request.lang or following.inherited_language(request.question, request.context)
        reading = parse_question(request.question, lang) if request.question or not request.entry else None
        picked = following.picked_candidate(reading, request.context)
        asked = request.entry or picked
        named = self.library[asked] if asked else None
        before = self.library[request.context.entry] if request.context and request.context.entry else None
        found = None
        if reading and (named is None or request.question):
            with self.stages.time("matching"):
                found = self.matcher.match(reading.text, MATCHES)
        matches = found.matches if found else ()
        if named is not None:
            matches = (Match(entry=named, score=1.0, phrasing=""), *(m for m in matches if m.entry.id != named.id))
        stays = before if named is None and before and reading and self.is_follow_up(matches, reading) else None
        if stays is not None:
            matches = following.promote(stays, matches, self.threshold)
        best = matches[0]
        status = AnswerStatus.ANSWERED if named or stays else self.decide_status(matches)
        alone: list[Text] = []
        if (
            not (named or before)
            and reading
            and reading.is_elliptical
            and reading.is_short
            and best.score < CLEAR_MATCH
        ):
            status, alone = AnswerStatus.CLARIFY, [NO_CONTEXT_NOTE]  # "and in float16?"
        entry = best.entry if status is AnswerStatus.ANSWERED else None
        follows = entry and (entry is before or picked or (reading is not None and reading.is_elliptical))
        earlier = dict(request.context.params) if request.context and follows else {}
        read_params = earlier | (following.resolve_bare_number(reading, earlier) if reading else {})
        asked_for = blocks(entry, request) if entry else ()
        experiments = [self.lab.experiment(block.experiment) for block in asked_for]
        check_known(experiments or list(self.lab.experiments.values()), request)
        planned = [plan_block(*pair, read_params, request) for pair in zip(asked_for, experiments, strict=True)]
        return Answer(
            id=str(ULID()),
            status=status,
            lang=lang or (reading.lang if reading else "en"),
            question=request.question,
            entry=entry,
            confidence=best.score,
            matches=matches,
            params=read_params | dict(request.params),
            notes=tuple(dict.fromkeys([*alone, *(note for _, notes in planned for note in notes)])),
            subject=found.subject if found and status is AnswerStatus.NOT_COVERED else None,
            related=tuple(self.library[related] for related in entry.related) if entry else (),
        )

    def fold_turns(self, request: Request, turns: Sequence[str]) -> Request:
        """The request of the last turn of a conversation, in the context of the turns before it."""
        for turn in turns:
            before = self.ask(replace(request, run=False))
            request = replace(request, question=turn, context=before.context)
        return request

    def planned(self, request: Request) -> tuple[Entry, list[PlannedRun]]:
        """The entry that a request names, and the runs it asks for, without running them. Raises `BadRequest`."""
        return self._now()._planned(request)

    def _planned(self, request: Request) -> tuple[Entry, list[PlannedRun]]:
        entry = self.library[request.entry or ""]
        check_known([self.lab.experiment(block.experiment) for block in blocks(entry, request)], request)
        return entry, list(self._runs(entry, {}, request))

    def _runs(self, entry: Entry, named: NamedValues, request: Request) -> Iterator[PlannedRun]:
        """The blocks' runs, each with what stands beside it; the same only once, where two blocks have it beside."""
        shown: list[tuple[str, Params]] = []
        for block in blocks(entry, request):
            found, _ = plan_block(block, self.lab.experiment(block.experiment), named, request)
            yield from found
            for plan in companion_runs(found, self.lab.experiments):
                if (plan.experiment.slug, plan.params) not in shown:
                    shown.append((plan.experiment.slug, plan.params))
                    yield plan

    def stream(self, request: Request, stopped: IsCancelled = lambda: False) -> Generator[Event, None, None]:
        """The answer at once, then its evidence as it is measured. Raises `BadRequest` before the first event only."""
        for event in self._now()._stream(request, stopped):
            self._emit(event)
            yield event

    def _emit(self, event: Event) -> None:
        for listener in self._subscribers:
            listener(event)

    def _stream(self, request: Request, stopped: IsCancelled) -> Generator[Event, None, None]:
        if request.run:
            self._admit()
        with self.stages.time("text"), self._match_limit:
            answer = self._ask(request)
        yield AnswerReady(answer)
        if answer.entry is not None and request.run:
            evidence: list[Evidence] = []
            for plan in self._runs(answer.entry, answer.params, request):
                one = yield from self._evidence(plan, request, answer.entry, stopped)
                evidence.append(one)
                yield EvidenceReady(one)
            answer = replace(answer, evidence=tuple(evidence))
        yield Done(answer)

    def answer(self, request: Request) -> Answer:
        """The whole answer, evidence included."""
        *_, done = self.stream(request)
        assert isinstance(done, Done)
        return done.answer

    def run(
        self, slug: str, params: Mapping[str, Any], seed: int = 0, stopped: IsCancelled = lambda: False
    ) -> Generator[Event, None, None]:
        """One experiment without claims: started, its rows, finished."""
        for event in self._run(slug, params, seed, stopped):
            self._emit(event)
            yield event

    def _run(
        self, slug: str, params: Mapping[str, Any], seed: int, stopped: IsCancelled
    ) -> Generator[Event, None, None]:
        experiment = self.lab.experiment(slug)
        values = fill_defaults(experiment, params)
        self._admit()
        yield Started(slug, experiment, values, seed)
        run = yield from self._measure(slug, experiment, values, seed, stopped)
        yield EvidenceReady(Evidence(block=slug, experiment=experiment, params=values, seed=seed, run=run))

    def _evidence(
        self, plan: PlannedRun, request: Request, entry: Entry, stopped: IsCancelled
    ) -> Generator[Event, None, Evidence]:
        block, called = plan.block, run_id(plan.block.id, plan.variant)
        yield Started(called, plan.experiment, plan.params, request.seed, plan.compared)
        run = yield from self._measure(called, plan.experiment, plan.params, request.seed, stopped)
        runs = [run]
        for seed in range(request.seed + 1, request.seed + request.seeds):
            alike = not run.used_rng  # every other seed would give the same
            again = self._measure(called, plan.experiment, plan.params, seed, stopped, quiet=True)
            runs.append(run if alike else (yield from again))
        return Evidence(
            block=block.id, experiment=plan.experiment, params=plan.params, seed=request.seed, run=run,
            claims=block.claims, entry=entry.id, entry_hash=entry.hash,
            entry_params=fill_defaults(plan.experiment, block.params), compared=plan.compared, variant=plan.variant,
            spreads=tuple(Spread.of(claim, runs) for claim in block.claims) if len(runs) > 1 else (),
        )  # fmt: skip

    def _measure(
        self,
        called: str,
        experiment: Experiment,
        params: Params,
        seed: int,
        stopped: IsCancelled,
        *,
        quiet: bool = False,
    ) -> Generator[Event, None, Run]:
        """The run; its rows are events of the evidence that is `called` so, unless `quiet`."""
        rows = self.lab.stream(experiment, params, seed, stopped)
        try:
            while True:
                try:
                    match next(rows):
                        case QueuePosition(before):
                            yield Queued(called, before)
                        case row if not quiet:
                            yield RowMeasured(called, row)
                except StopIteration as finished:
                    run: Run = finished.value
                    return run
        finally:
            rows.close()  # a reader who leaves takes the child with him

    def _admit(self) -> None:
        if (waiting := self.lab.waiting) >= self.queue:
            raise Overloaded(waiting, seconds=max(1, round(waiting * _SECONDS_A_RUN / self.lab.slots)))

    def decide_status(self, matches: tuple[Match, ...]) -> AnswerStatus:
        best, second = matches[0], matches[1] if len(matches) > 1 else None
        if best.score < self.threshold:
            return AnswerStatus.NOT_COVERED
        if second and best.score - second.score < AMBIGUITY_MARGIN and best.score < 1 - AMBIGUITY_MARGIN:
            return AnswerStatus.CLARIFY if best.entry.item != second.entry.item else AnswerStatus.ANSWERED
        return AnswerStatus.ANSWERED

    def is_follow_up(self, matches: tuple[Match, ...], reading: ParsedQuestion) -> bool:
        """Whether a follow-up stays with the one before: it changes a parameter, tried in vain, or matches nothing."""
        vague = reading.is_short and matches[0].score < CLEAR_MATCH
        changes = bool(reading.params) and (reading.is_elliptical or vague)
        return changes or reading.reports_failure or matches[0].score < self.threshold


def build(settings: Settings, *, warm: tuple[str, ...] | None = ONE_SHOT, many: bool = False) -> Service:
    """The service of these settings; raises `BadContent` for a broken library.

    The lab starts importing the modules in `warm` at once, while the rest is built; with None when a run asks for it.
    Where `many` ask, children wait for work, and identical runs are shared.
    """
    lab = ProcessRunner(
        settings.demos, deadline=settings.deadline, memory=settings.memory, slots=settings.slots, warm=warm or ONE_SHOT,
        idle=settings.slots if many else 0,
    )  # fmt: skip
    if warm:
        lab.warm_up()
    library = Library.read(settings.kb, lab.experiments)
    if many:
        threadpool_limits(1)  # readers are the parallel ones: more threads in BLAS cost three times the time of a match
    runner = SharedRunner(lab, kept=RunDiskCache.of(settings.cache, settings.runs_on_disk)) if many else lab
    matching = matcher(settings, library, load_embedder(settings.encoder, settings.cache))
    return Service(library, matching, runner, threshold=settings.threshold, queue=settings.queue)


def matcher(settings: Settings, library: Library, embedder: Embedder) -> Matcher:
    """What finds the entries of a library; `embedder` is the one that the settings name."""
    folder = Path(settings.encoder)
    name = str(folder.resolve()) if os.sep in settings.encoder and folder.is_dir() else settings.encoder
    return Matcher(library, embedder, name=name, cache=settings.cache)
