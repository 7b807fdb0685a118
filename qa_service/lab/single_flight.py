"""Identical runs are one run: who asks for what is just being measured listens in, what was measured is remembered."""

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import replace

from qa_service.lab.cancellation import CancelToken
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.runner import Cancelled, QueuePosition, Runner
from qa_service.model import Experiment, Params, Row, Run, RunStatus
from qa_service.telemetry.timing import Timings

_LOOK_UP = 0.1  # seconds between looks at the reader while nothing comes
RunKey = tuple[str, str, int]


class SharedRunner:
    """A lab that measures each (code, parameters, seed) once; it remembers runs up to `most_rows` rows together.

    The same seed gives the same numbers to the bit (they are what a receipt repeats), so a run remembered is a run
    repeated; it says so (`Run.cached`). Runs that did not finish are not remembered: they may do so next time. `run`
    never comes from memory: who asks for a run without its rows tests the lab.
    """

    def __init__(self, runner: Runner, most_rows: int = 100_000, kept: RunDiskCache | None = None) -> None:
        """`kept` remembers across restarts and for other workers."""
        self._runner = runner
        self._kept = kept
        self._most_rows = most_rows
        self._lock = threading.Lock()
        self._flights: dict[RunKey, _SharedRun] = {}
        self._cache: OrderedDict[RunKey, Run] = OrderedDict()
        self._rows = 0

    @property
    def slots(self) -> int:
        """Runs at once."""
        return self._runner.slots

    @property
    def waiting(self) -> int:
        """Runs that wait for a slot."""
        return self._runner.waiting

    @property
    def ready(self) -> int:
        """Child processes that wait for work."""
        return self._runner.ready

    @property
    def timings(self) -> Timings:
        """Who is told how long things take."""
        return self._runner.timings

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """One run from beginning to end, always measured anew."""
        return self._runner.run(experiment, params, seed)

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Row | QueuePosition, None, Run]:
        """As `Lab.stream`. A run ends early only when its last listener has gone."""
        key = (experiment.hash, repr(sorted(params.items())), seed)
        boarded = self._join_or_start(key, experiment, params)
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

    def _join_or_start(self, key: RunKey, experiment: Experiment, params: Params) -> "Run | _SharedRun":
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            flight = self._flights.get(key)
            if flight is not None:
                flight.listeners += 1
                return flight
            flight = self._flights[key] = _SharedRun()
            flight.listeners = 1  # before it takes off, or it would find itself alone
        fly = (contextvars.copy_context().run, (self._execute, flight, key, experiment, params))
        threading.Thread(target=fly[0], args=fly[1], daemon=True, name="run").start()
        return flight

    def _execute(self, flight: "_SharedRun", key: RunKey, experiment: Experiment, params: Params) -> None:
        outcome: Run | Exception | None = self._kept.get(experiment, params, key[2]) if self._kept else None
        for row in outcome.rows if isinstance(outcome, Run) else ():
            flight.add(row)
        if outcome is None:
            rows = self._runner.stream(experiment, params, key[2], lambda: not flight.listeners)
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
            if isinstance(outcome, Run) and outcome.status is RunStatus.RAN:
                self._remember(key, outcome)
        assert outcome is not None
        flight.finish(outcome)
        if self._kept and isinstance(outcome, Run) and not outcome.cached:
            self._kept.put(experiment, params, key[2], outcome)  # nobody waits for the disk

    def _remember(self, key: RunKey, run: Run) -> None:
        self._cache[key] = run
        self._rows += 1 + len(run.rows)
        while self._rows > self._most_rows:
            self._rows -= 1 + len(self._cache.popitem(last=False)[1].rows)


class _SharedRun:
    """One run and those who listen to it; each hears it from its first row."""

    def __init__(self) -> None:
        self.listeners = 0
        self.outcome: Run | Exception | None = None
        self._rows: list[Row] = []
        self._place = 0
        self._news = threading.Condition()

    def add(self, what: Row | QueuePosition) -> None:
        with self._news:
            if isinstance(what, QueuePosition):
                self._place = what.before
            else:
                self._place = 0
                self._rows.append(what)
            self._news.notify_all()

    def finish(self, outcome: Run | Exception) -> None:
        with self._news:
            self.outcome = outcome
            self._news.notify_all()

    def listen(self, stopped: Callable[[], bool]) -> Generator[Row | QueuePosition, None, Run]:
        if not isinstance(stopped, CancelToken):
            return (yield from self._listen(stopped, _LOOK_UP))
        stopped.add_callback(self._wake)
        try:
            return (yield from self._listen(stopped, None))
        finally:
            stopped.remove_callback(self._wake)

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()

    def _listen(self, stopped: Callable[[], bool], patience: float | None) -> Generator[Row | QueuePosition, None, Run]:
        at = place = 0
        while True:
            with self._news:
                if at == len(self._rows) and self.outcome is None and place == self._place and not stopped():
                    self._news.wait(patience)
                new, outcome, now = self._rows[at:], self.outcome, self._place
            if stopped():
                raise Cancelled
            if now != place and now:
                yield QueuePosition(now)
            place = now
            yield from new
            at += len(new)
            if isinstance(outcome, Run):
                if at == len(self._rows):
                    return outcome
            elif outcome is not None:
                raise outcome
