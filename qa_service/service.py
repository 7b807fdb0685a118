"""The three parts joined: ask finds who answers, stream measures and judges. Values flow; nothing registers."""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulid import ULID

from qa_service.embedder import load_embedder
from qa_service.errors import BadField, BadParameter
from qa_service.events import Answered, Done, Event, Finished, Measuring, Started
from qa_service.figures import shown
from qa_service.lab import ONE_SHOT, Lab
from qa_service.library import Library
from qa_service.matching import Matcher
from qa_service.model import (
    Answer,
    AnswerStatus,
    Context,
    Entry,
    Evidence,
    EvidenceBlock,
    Experiment,
    Match,
    Named,
    Params,
    Request,
    Run,
    Text,
    Value,
)
from qa_service.parameters import clamp, complete, unknown_parameter
from qa_service.reading import Reading, read
from qa_service.settings import Settings

MATCHES = 5
_TOO_CLOSE, _CLEAR = 0.02, 0.8
_A_COUNT = 10  # a whole number from here on is how many, below it how much
Stopped = Callable[[], bool]


class Service:
    """Answers questions with evidence. Every method may be called from several threads."""

    def __init__(self, library: Library, matcher: Matcher, lab: Lab, *, threshold: float) -> None:
        self.library = library
        self.matcher = matcher
        self.lab = lab
        self.threshold = threshold
        self.observers: list[Callable[[Event], None]] = []

    def ask(self, request: Request) -> Answer:
        """Who answers, without evidence: never runs code. Raises `BadRequest`."""
        reading = read(request.question, request.lang) if request.question or not request.entry else None
        named = self.library[request.entry] if request.entry else None
        before = self.library[request.context.entry] if request.context else None
        found = self.matcher.match(reading.text, MATCHES) if reading and (named is None or request.question) else None
        matches = found.matches if found else ()
        if named is not None:
            matches = (Match(entry=named, score=1.0, phrasing=""), *(m for m in matches if m.entry.id != named.id))
        stays = before if named is None and before and reading and self._stays(matches, reading) else None
        if stays is not None:
            matches = _first(stays, matches, self.threshold)
        best = matches[0]
        status = AnswerStatus.ANSWERED if named or stays else self._status(matches)
        if not (named or before) and reading and reading.elliptic and reading.short and best.score < _CLEAR:
            status = AnswerStatus.CLARIFY  # "and in float16?", with nothing before it
        entry = best.entry if status is AnswerStatus.ANSWERED else None
        follows = request.context and entry and (entry is before or (reading is not None and reading.elliptic))
        earlier = dict(request.context.params) if request.context and follows else {}
        read_params = earlier | (_named(reading, earlier) if reading else {})
        blocks = _blocks(entry, request) if entry else ()
        _check_known(self.lab, blocks, request.params)
        planned = [self._plan(block, read_params, request.params) for block in blocks]
        return Answer(
            id=str(ULID()),
            status=status,
            lang=request.lang or (reading.lang if reading else "en"),
            question=request.question,
            entry=entry,
            confidence=best.score,
            matches=matches,
            params=read_params | dict(request.params),
            notes=tuple(dict.fromkeys(note for _, notes in planned for note in notes)),
            subject=found.subject if found and status is AnswerStatus.NOT_COVERED else None,
            related=tuple(self.library[related] for related in entry.related) if entry else (),
        )

    def follow(self, request: Request, turns: Sequence[str]) -> Request:
        """The request of the last turn of a conversation, in the context of the turns before it."""
        for turn in turns:
            before = self.ask(replace(request, run=False))
            context = before.entry and Context(entry=before.entry.id, params=before.params, lang=before.lang)
            request = replace(request, question=turn, context=context or None)
        return request

    def stream(self, request: Request, stopped: Stopped = lambda: False) -> Generator[Event, None, None]:
        """The answer at once, then its evidence as it is measured. Raises `BadRequest` before the first event only."""
        for event in self._stream(request, stopped):
            for observe in self.observers:
                observe(event)
            yield event

    def _stream(self, request: Request, stopped: Stopped) -> Generator[Event, None, None]:
        answer = self.ask(request)
        yield Answered(answer)
        if answer.entry is not None and request.run:
            evidence: list[Evidence] = []
            for block in _blocks(answer.entry, request):
                params, _ = self._plan(block, answer.params, request.params)
                experiment = self.lab.experiment(block.experiment)
                yield Started(block.id, experiment, params, request.seed)
                run = yield from self._measure(block.id, experiment, params, request.seed, stopped)
                one = Evidence(
                    block=block.id, experiment=experiment, params=params, seed=request.seed, run=run,
                    claims=block.claims, entry_hash=answer.entry.hash,
                )  # fmt: skip
                evidence.append(one)
                yield Finished(one)
            answer = replace(answer, evidence=tuple(evidence))
        yield Done(answer)

    def answer(self, request: Request) -> Answer:
        """The whole answer, evidence included."""
        *_, done = self.stream(request)
        assert isinstance(done, Done)
        return done.answer

    def run(
        self, slug: str, params: Mapping[str, Any], seed: int = 0, stopped: Stopped = lambda: False
    ) -> Generator[Event, None, None]:
        """One experiment without claims: started, its rows, finished."""
        experiment = self.lab.experiment(slug)
        values = complete(experiment, params)
        yield Started(slug, experiment, values, seed)
        run = yield from self._measure(slug, experiment, values, seed, stopped)
        yield Finished(Evidence(block=slug, experiment=experiment, params=values, seed=seed, run=run))

    def _measure(
        self, block: str, experiment: Experiment, params: Params, seed: int, stopped: Stopped
    ) -> Generator[Event, None, Run]:
        rows = self.lab.stream(experiment, params, seed, stopped)
        try:
            while True:
                try:
                    yield Measuring(block, next(rows))
                except StopIteration as finished:
                    run: Run = finished.value
                    return run
        finally:
            rows.close()  # a reader who leaves takes the child with him

    def _status(self, matches: tuple[Match, ...]) -> AnswerStatus:
        best, second = matches[0], matches[1] if len(matches) > 1 else None
        if best.score < self.threshold:
            return AnswerStatus.NOT_COVERED
        if second and best.score - second.score < _TOO_CLOSE and best.score < 1 - _TOO_CLOSE:
            return AnswerStatus.CLARIFY if best.entry.item != second.entry.item else AnswerStatus.ANSWERED
        return AnswerStatus.ANSWERED

    def _stays(self, matches: tuple[Match, ...], reading: Reading) -> bool:
        """Whether a follow-up stays with the entry before it: it changes a parameter, or matches nothing by itself."""
        changes = bool(reading.params) and (reading.elliptic or (reading.short and matches[0].score < _CLEAR))
        return changes or matches[0].score < self.threshold

    def _plan(self, block: EvidenceBlock, read_params: Named, given: Params) -> tuple[dict[str, Value], list[Text]]:
        """The block's parameters: its own, then what the question says (clamped), then what the request sets."""
        experiment = self.lab.experiment(block.experiment)
        fixed = {name: value for name, value in given.items() if name in experiment.params}
        said: dict[str, Value] = {}
        notes: list[Text] = []
        for name, value in read_params.items():
            if isinstance(value, tuple):  # a comparison: no single run can show it
                continue
            if name in experiment.params and name not in block.fixed and name not in fixed:
                clamped = clamp(experiment.params[name], value)
                if clamped is not None:
                    said[name] = clamped
                if clamped != value and not (isinstance(value, float) and clamped == float(value)):
                    notes.append(_clamped(name, value, clamped))
        try:
            return complete(experiment, {**block.params, **said, **fixed}), notes
        except BadParameter as error:
            if not said:
                raise
            kept = complete(experiment, {**block.params, **fixed})
            return kept, [
                *notes,
                Text(f"{error.zh}；改用词条的参数。", f"{error.en}; used the entry's own parameters."),
            ]


def build(settings: Settings, *, warm: tuple[str, ...] | None = ONE_SHOT) -> Service:
    """The service of these settings; raises `BadContent` for a broken library.

    The lab starts importing the modules in `warm` at once, while the rest is built; with None when a run asks for it.
    """
    lab = Lab(
        settings.demos, deadline=settings.deadline, memory=settings.memory, slots=settings.slots, warm=warm or ONE_SHOT
    )
    if warm:
        lab.warm_up()
    library = Library.read(settings.kb, lab.experiments)
    folder = Path(settings.encoder)
    name = str(folder.resolve()) if os.sep in settings.encoder and folder.is_dir() else settings.encoder
    matcher = Matcher(library, load_embedder(settings.encoder), name=name, cache=settings.cache)
    return Service(library, matcher, lab, threshold=settings.threshold)


def _blocks(entry: Entry, request: Request) -> tuple[EvidenceBlock, ...]:
    if request.blocks is None:
        return entry.evidence
    ids = [block.id for block in entry.evidence]
    for name in request.blocks:
        if name not in ids:
            raise BadField(
                zh=f"词条 {entry.id} 没有证据块 {name!r}。现有：{', '.join(ids)}",
                en=f"entry {entry.id} has no evidence block {name!r}. There are: {', '.join(ids)}",
                field="blocks",
            )
    return tuple(block for block in entry.evidence if block.id in request.blocks)


def _first(entry: Entry, matches: tuple[Match, ...], at_least: float) -> tuple[Match, ...]:
    """The same matches with this entry before them all."""
    own = next((match for match in matches if match.entry is entry), Match(entry=entry, score=0.0, phrasing=""))
    score = max(at_least, own.score, matches[0].score if matches else 0.0)
    return (replace(own, score=score), *(match for match in matches if match.entry is not entry))


def _named(reading: Reading, earlier: Named) -> dict[str, Value | tuple[Value, ...]]:
    """What the question names; "what about 0.9?" names the number that its context was about."""
    if reading.params or reading.number is None or not reading.short:
        return dict(reading.params)
    number = reading.number
    numbers = [name for name, value in earlier.items() if type(value) in (int, float)]
    whole = number.is_integer() and abs(number) >= _A_COUNT
    kind: type = int if whole else float
    fitting = [name for name in numbers if type(earlier[name]) is kind] or numbers[:1]
    return {name: int(number) if isinstance(earlier[name], int) else number for name in fitting[:1]}


def _check_known(lab: Lab, blocks: tuple[EvidenceBlock, ...], given: Params) -> None:
    """A parameter that the reader set must mean something to one of the experiments."""
    among = [lab.experiment(block.experiment) for block in blocks] or list(lab.experiments.values())
    names = sorted({name for experiment in among for name in experiment.params})
    for name in given:
        if name not in names:
            raise unknown_parameter(name, names)


def _clamped(name: str, value: Value, clamped: Value | None) -> Text:
    if clamped is None:
        return Text(
            f"问题里的 {name} = {shown(value, 'zh')} 不能用在这个实验里，已忽略。",
            f"{name} = {shown(value)} from the question does not fit this experiment and was left out.",
        )
    return Text(
        f"问题里的 {name} = {shown(value, 'zh')} 超出范围，已改为 {shown(clamped, 'zh')}。",
        f"{name} = {shown(value)} from the question is out of bounds; {shown(clamped)} was used.",
    )
