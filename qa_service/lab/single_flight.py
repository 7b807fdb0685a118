"""Single flight for runs: concurrent requests for the same run share one execution; later ones find it in a cache."""

import contextvars
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import replace

from qa_service.lab.cancellation import CancelToken, IsCancelled
from qa_service.lab.clients import CLIENT, CLIENTS_OF_RUN, ClientNames
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.runner import (
    Cancelled,
    GeneratorWithResult,
    ProcessRunner,
    QueuePosition,
    Runner,
    RunnerWrapper,
    overloaded_error,
)
from qa_service.model import Experiment, Params, Row, Run, RunStatus

_POLL_SECONDS = 0.1  # between looks at `is_cancelled`, unless it is a `CancelToken`, which wakes the listener
RunKey = tuple[str, str, int]
"""(hash of the experiment's source, its parameters as text, seed)."""


class SharedRunner(RunnerWrapper):
    """A runner that executes each (source, parameters, seed) once and caches finished runs.

    The same seed gives the same numbers to the bit (receipts rely on it), so a cached run equals a repeated one; it is
    marked `Run.cached`. Runs that failed are not cached: they may succeed next time. Only `stream` uses the cache;
    `run` always executes, because its callers check that experiments run.
    """

    def __init__(
        self,
        runner: Runner,
        max_rows: int = 100_000,
        disk_cache: RunDiskCache | None = None,
        max_in_progress: int = 1000,
    ) -> None:
        """The cache in memory holds at most `max_rows` rows, each run counting one more, least recently used out first.

        `disk_cache` is shared with other workers and survives restarts. Each run that waits or executes has a thread,
        at most `max_in_progress` of them; further runs are refused.
        """
        super().__init__(runner)
        self._disk_cache = disk_cache
        self._max_rows = max_rows
        self._max_in_progress = max_in_progress
        self._lock = threading.Lock()
        self._in_progress: dict[RunKey, _SharedRun] = {}
        self._cache: OrderedDict[RunKey, Run] = OrderedDict()
        self._cached_rows = 0

    def close(self) -> None:
        """Ends the idle children and the thread that forks them; the next run starts them again."""
        self._runner.close()

    def stream(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled = lambda: False
    ) -> Generator[Row | QueuePosition, None, Run]:
        """As `Runner.stream`. A shared run is cancelled only when its last listener has been cancelled.

        Raises `Overloaded` where no more runs can be started.
        """
        key = (experiment.hash, repr(sorted(params.items())), seed)
        joined = self._join_or_start(key, experiment, params)
        if isinstance(joined, Run):
            yield from joined.rows
            return replace(joined, cached=True)
        shared = joined
        try:
            return (yield from shared.listen(is_cancelled))
        finally:
            with self._lock:
                shared.listeners -= 1
                if not shared.listeners and self._in_progress.get(key) is shared and shared.outcome is None:
                    del self._in_progress[key]  # it is about to be cancelled: the next request starts another

    def finished(self, experiment: Experiment, params: Params, seed: int = 0) -> Run | None:
        """The run as it was measured earlier, in memory, on disk, or kept by the runner; executes nothing."""
        with self._lock:
            kept = self._cache.get((experiment.hash, repr(sorted(params.items())), seed))
        if kept is None and self._disk_cache:
            kept = self._disk_cache.get(experiment, params, seed)
        if kept is None:
            kept = self._runner.finished(experiment, params, seed)
        return kept and replace(kept, cached=True)

    def _join_or_start(self, key: RunKey, experiment: Experiment, params: Params) -> "Run | _SharedRun":
        """A cached run, or the run in progress, started if there is none; this call counts as a listener of it."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            client = CLIENT.get().name
            shared = self._in_progress.get(key)
            if shared is not None:
                shared.listeners += 1
                shared.clients.add(client)
                return shared
            if len(self._in_progress) >= self._max_in_progress:
                raise overloaded_error(len(self._in_progress), self.slots)
            shared = self._in_progress[key] = _SharedRun(client)
            shared.listeners = 1  # before its thread starts, which cancels a run without listeners
        context = contextvars.copy_context()  # for the traces of the request
        context.run(CLIENTS_OF_RUN.set, shared.clients)
        arguments = (self._execute, shared, key, experiment, params)
        try:
            threading.Thread(target=context.run, args=arguments, daemon=True, name="run").start()
        except (RuntimeError, MemoryError) as error:  # no thread is left: those who have joined must not wait for it
            refusal = overloaded_error(self.waiting, self.slots)
            self._forget(key, shared)
            shared.finish(refusal)
            raise refusal from error
        return shared

    def _forget(self, key: RunKey, shared: "_SharedRun") -> None:
        """Remove a run from those in progress, unless another of the same key has taken its place."""
        with self._lock:
            if self._in_progress.get(key) is shared:
                del self._in_progress[key]

    def _execute(self, shared: "_SharedRun", key: RunKey, experiment: Experiment, params: Params) -> None:
        """Take the run from the disk cache or run it, in a thread of its own; then cache it."""
        outcome: Run | Exception | None = self._disk_cache.get(experiment, params, key[2]) if self._disk_cache else None
        if isinstance(outcome, Run):
            shared.add(list(outcome.rows))
        if outcome is None:
            batches = GeneratorWithResult(self._batches(experiment, params, key[2], lambda: not shared.listeners))
            try:
                for batch in batches:
                    shared.add(batch)
                run = batches.result
                outcome = replace(run, measured_at=run.measured_at or time.time())
            except Exception as error:
                outcome = error
        with self._lock:
            if self._in_progress.get(key) is shared:
                del self._in_progress[key]
            if isinstance(outcome, Run) and outcome.status is RunStatus.RAN:
                self._put_in_cache(key, outcome)
        assert outcome is not None
        shared.finish(outcome)
        if self._disk_cache and isinstance(outcome, Run) and not outcome.cached:
            self._disk_cache.put(experiment, params, key[2], outcome)  # after `finish`: no listener waits for the disk

    def _batches(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled
    ) -> Generator[list[Row] | QueuePosition, None, Run]:
        """The runner's `stream`, with rows that come together in one list, so that listeners are woken once for all."""
        if isinstance(self._runner, ProcessRunner):
            return (yield from self._runner.stream_batches(experiment, params, seed, is_cancelled))
        events = GeneratorWithResult(self._runner.stream(experiment, params, seed, is_cancelled))
        for event in events:
            yield event if isinstance(event, QueuePosition) else [event]
        return events.result

    def _put_in_cache(self, key: RunKey, run: Run) -> None:
        self._cache[key] = run
        self._cached_rows += 1 + len(run.rows)
        while self._cached_rows > self._max_rows:
            self._cached_rows -= 1 + len(self._cache.popitem(last=False)[1].rows)


class _SharedRun:
    """A run in progress with its listeners; each listener gets every row from the first. Thread-safe."""

    def __init__(self, client: str) -> None:
        self.listeners = 0
        self.clients = ClientNames(client)
        self.outcome: Run | Exception | None = None
        self._rows: list[Row] = []
        self._position = 0
        self._changed = threading.Condition()

    def add(self, event: list[Row] | QueuePosition) -> None:
        """Append rows, or set the position in the queue; wakes the listeners."""
        with self._changed:
            if isinstance(event, QueuePosition):
                self._position = event.position
            else:
                self._position = 0
                self._rows += event
            self._changed.notify_all()

    def finish(self, outcome: Run | Exception) -> None:
        """Set the result, or the error that every listener raises; wakes the listeners."""
        with self._changed:
            self.outcome = outcome
            self._changed.notify_all()

    def listen(self, is_cancelled: IsCancelled) -> Generator[Row | QueuePosition, None, Run]:
        """Yields queue positions and rows, returns the run. Raises `Cancelled` or the error of the run."""
        if not isinstance(is_cancelled, CancelToken):
            return (yield from self._listen(is_cancelled, _POLL_SECONDS))
        is_cancelled.add_callback(self._wake)
        try:
            return (yield from self._listen(is_cancelled, None))
        finally:
            is_cancelled.remove_callback(self._wake)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _listen(self, is_cancelled: IsCancelled, timeout: float | None) -> Generator[Row | QueuePosition, None, Run]:
        seen = position = 0
        while True:
            with self._changed:
                if (
                    seen == len(self._rows)
                    and self.outcome is None
                    and position == self._position
                    and not is_cancelled()
                ):
                    self._changed.wait(timeout)
                new_rows, outcome, current = self._rows[seen:], self.outcome, self._position
            if is_cancelled():
                raise Cancelled
            if current != position and current:
                yield QueuePosition(current)
            position = current
            yield from new_rows
            seen += len(new_rows)
            if isinstance(outcome, Run):
                if seen == len(self._rows):
                    return outcome
            elif outcome is not None:
                raise outcome
