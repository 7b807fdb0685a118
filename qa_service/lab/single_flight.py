"""Identical runs are one run: who asks for what is just being measured listens in, what was measured is remembered."""

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import replace

from qa_service.lab.cancellation import Leaving
from qa_service.lab.delegate import Around
from qa_service.lab.disk_cache import Kept
from qa_service.lab.runner import Place, Runner, Stopped
from qa_service.model import Experiment, Params, Row, Run, Status

_LOOK_UP = 0.1  # seconds between looks at the reader while nothing comes
Key = tuple[str, str, int]


class Sharing(Around):
    """A lab that measures each (code, parameters, seed) once; it remembers runs up to `most_rows` rows together.

    The same seed gives the same numbers to the bit (they are what a receipt repeats), so a run remembered is a run
    repeated; it says so (`Run.cached`). Runs that did not finish are not remembered: they may do so next time. `run`
    never comes from memory: who asks for a run without its rows tests the lab.
    """

    def __init__(self, runner: Runner, most_rows: int = 100_000, kept: Kept | None = None) -> None:
        """`kept` remembers across restarts and for other workers."""
        super().__init__(runner)
        self._kept = kept
        self._most_rows = most_rows
        self._lock = threading.Lock()
        self._flights: dict[Key, _Flight] = {}
        self._known: OrderedDict[Key, Run] = OrderedDict()
        self._rows = 0

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Row | Place, None, Run]:
        """As `Lab.stream`. A run ends early only when its last listener has gone."""
        key = (experiment.hash, repr(sorted(params.items())), seed)
        boarded = self._board(key, experiment, params)
        if isinstance(boarded, Run):
            yield from boarded.rows
            return replace(boarded, cached=True)
        flight = boarded
        try:
            return (yield from flight.listen(stopped))
        finally:
            with self._lock:
                flight.listeners -= 1
                if not flight.listeners and self._flights.get(key) is flight and flight.outcome is None:
                    del self._flights[key]  # it is about to stop: who comes now starts another

    def _board(self, key: Key, experiment: Experiment, params: Params) -> "Run | _Flight":
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            flight = self._flights.get(key)
            if flight is not None:
                flight.listeners += 1
                return flight
            flight = self._flights[key] = _Flight()
            flight.listeners = 1  # before it takes off, or it would find itself alone
        fly = (contextvars.copy_context().run, (self._fly, flight, key, experiment, params))
        threading.Thread(target=fly[0], args=fly[1], daemon=True, name="run").start()
        return flight

    def _fly(self, flight: "_Flight", key: Key, experiment: Experiment, params: Params) -> None:
        outcome: Run | Exception | None = self._kept.find(experiment, params, key[2]) if self._kept else None
        for row in outcome.rows if isinstance(outcome, Run) else ():
            flight.add(row)
        if outcome is None:
            rows = self.runner.stream(experiment, params, key[2], lambda: not flight.listeners)
            try:
                while True:
                    flight.add(next(rows))
            except StopIteration as end:
                outcome = end.value
            except Exception as error:
                outcome = error
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if isinstance(outcome, Run) and outcome.status is Status.RAN:
                self._remember(key, outcome)
        assert outcome is not None
        flight.land(outcome)
        if self._kept and isinstance(outcome, Run) and not outcome.cached:
            self._kept.keep(experiment, params, key[2], outcome)  # nobody waits for the disk

    def _remember(self, key: Key, run: Run) -> None:
        self._known[key] = run
        self._rows += 1 + len(run.rows)
        while self._rows > self._most_rows:
            self._rows -= 1 + len(self._known.popitem(last=False)[1].rows)


class _Flight:
    """One run and those who listen to it; each hears it from its first row."""

    def __init__(self) -> None:
        self.listeners = 0
        self.outcome: Run | Exception | None = None
        self._heard: list[Row] = []
        self._place = 0
        self._news = threading.Condition()

    def add(self, what: Row | Place) -> None:
        with self._news:
            if isinstance(what, Place):
                self._place = what.before
            else:
                self._place = 0
                self._heard.append(what)
            self._news.notify_all()

    def land(self, outcome: Run | Exception) -> None:
        with self._news:
            self.outcome = outcome
            self._news.notify_all()

    def listen(self, stopped: Callable[[], bool]) -> Generator[Row | Place, None, Run]:
        if not isinstance(stopped, Leaving):
            return (yield from self._listen(stopped, _LOOK_UP))
        stopped.tell(self._wake)
        try:
            return (yield from self._listen(stopped, None))
        finally:
            stopped.forget(self._wake)

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()

    def _listen(self, stopped: Callable[[], bool], patience: float | None) -> Generator[Row | Place, None, Run]:
        at = place = 0
        while True:
            with self._news:
                if at == len(self._heard) and self.outcome is None and place == self._place and not stopped():
                    self._news.wait(patience)
                new, outcome, now = self._heard[at:], self.outcome, self._place
            if stopped():
                raise Stopped
            if now != place and now:
                yield Place(now)
            place = now
            yield from new
            at += len(new)
            if isinstance(outcome, Run):
                if at == len(self._heard):
                    return outcome
            elif outcome is not None:
                raise outcome
