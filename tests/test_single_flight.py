"""Identical runs at the same time are executed once, and repeated later they are answered from memory."""

import contextvars
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, running_threads, until

from qa_service.errors import Overloaded
from qa_service.experiments.spec import load_specs
from qa_service.lab.clients import CLIENT, Client
from qa_service.lab.runner import Cancelled, ProcessRunner, QueuePosition
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import RunStatus

EXPERIMENTS = load_specs(Path(__file__).resolve().parent / "toys" / "demos")


class CountingRunner:
    """Counts the runs of the toy runner; `ended` is set once a run has ended."""

    def __init__(self, lab):
        self._lab, self.started, self.ended = lab, 0, threading.Event()

    def __getattr__(self, name):
        return getattr(self._lab, name)

    def stream(self, *what):
        self.started += 1
        try:
            return (yield from self._lab.stream(*what))
        finally:
            self.ended.set()


@pytest.fixture
def runner(lab):
    return CountingRunner(lab)


def _run_to_end(
    shared: SharedRunner, slug: str, steps: int, seed: int = 0, stopped: Callable[[], bool] = lambda: False
):
    """Streams a run as one subscriber; returns its rows and the run."""
    rows = []
    stream = shared.stream(EXPERIMENTS[slug], {"steps": steps}, seed, stopped)
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as end:
            return rows, end.value


def test_concurrent_identical_runs_are_executed_once(runner):
    """Every subscriber receives all rows from the first one, whenever it subscribed."""
    shared, results = SharedRunner(runner), []
    threads = [threading.Thread(target=lambda: results.append(_run_to_end(shared, "counts", 50))) for _ in range(20)]
    with running_threads(threads):
        until(lambda: len(results) == 20)
    assert runner.started == 1
    for rows, run in results:
        assert [row["value"] for row in rows] == list(range(1, 51))
        assert (run.status, run.measured["last"]) == (RunStatus.RAN, 50)


def test_finished_runs_are_cached_and_marked_as_cached(runner):
    """The cache key is code, parameters and seed, so another seed is another run."""
    shared = SharedRunner(runner)
    (rows, first), (cached_rows, second), (_, other) = (_run_to_end(shared, "counts", 4, seed) for seed in (1, 1, 2))
    assert runner.started == 2
    assert cached_rows == rows
    assert second.measured == first.measured != other.measured
    assert [run.cached for run in (first, second, other)] == [False, True, False]


def test_the_oldest_cached_runs_are_evicted_first(runner):
    shared = SharedRunner(runner, max_rows=12)
    for steps in (3, 4, 5, 3, 5):
        _run_to_end(shared, "counts", steps)
    assert runner.started == 4  # 3, 4, 5, and 3 again, which had been evicted


def test_failed_runs_are_not_cached(runner):
    shared = SharedRunner(runner)
    for _ in range(2):
        assert _run_to_end(shared, "raises", 1)[1].status is RunStatus.RAISED
    assert runner.started == 2


def test_a_run_is_cancelled_with_its_last_subscriber():
    """It goes on while any subscriber is left; once cancelled, its slot is free for another run."""
    runner = CountingRunner(ProcessRunner(deadline=60.0, memory=1024, slots=1))
    shared, ended = SharedRunner(runner), []
    cancel, received = ([threading.Event(), threading.Event()] for _ in range(2))

    def subscribe(index: int) -> None:
        stream = shared.stream(EXPERIMENTS["sleeps"], {"steps": 100_000}, 0, cancel[index].is_set)
        try:
            for _ in stream:
                received[index].set()
        except Cancelled:
            ended.append(index)

    threads = [threading.Thread(target=subscribe, args=(index,), daemon=True) for index in range(2)]
    try:
        for thread, row in zip(threads, received, strict=True):
            thread.start()
            assert row.wait(TIMEOUT_SECONDS)
        cancel[0].set()
        threads[0].join(TIMEOUT_SECONDS)
        received[1].clear()
        assert received[1].wait(TIMEOUT_SECONDS), "the other subscriber receives no more rows"
        assert (ended, runner.started, runner.ended.is_set()) == ([0], 1, False)
        cancel[1].set()
        threads[1].join(TIMEOUT_SECONDS)
        assert runner.ended.wait(TIMEOUT_SECONDS)
        assert ended == [0, 1]
    finally:
        for event in cancel:
            event.set()
    assert _run_to_end(shared, "sleeps", 2)[1].status is RunStatus.RAN
    assert runner.started == 2


def test_a_run_whose_thread_cannot_start_is_refused_and_forgotten(runner, monkeypatch):
    """The requester and those who joined get 503; the next request for the run succeeds."""
    shared, joined = SharedRunner(runner), []
    start, starting = threading.Thread.start, threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name != "run":
            start(thread)
            return
        follower = threading.Thread(target=follow, daemon=True)
        start(follower)
        assert starting.wait(TIMEOUT_SECONDS)
        raise RuntimeError("can't start new thread")

    def follow() -> None:
        stream = shared.stream(EXPERIMENTS["counts"], {"steps": 3}, 0, lambda: starting.set() or False)
        try:
            next(stream)
        except Overloaded as refusal:
            joined.append(refusal)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Overloaded) as refused:
            _run_to_end(shared, "counts", 3)
    assert refused.value.seconds >= 1
    until(lambda: joined)
    assert _run_to_end(shared, "counts", 3)[1].status is RunStatus.RAN
    assert runner.started == 1


def test_runs_in_progress_are_bounded(runner):
    """Each run needs a thread: a request for one more run is refused, a request that joins a run is not."""
    shared = SharedRunner(runner, max_in_progress=1)
    first = shared.stream(EXPERIMENTS["sleeps"], {"steps": 1000}, 0)
    second = shared.stream(EXPERIMENTS["sleeps"], {"steps": 1000}, 0)
    with closing(first), closing(second):
        assert next(first) == next(second)
        with pytest.raises(Overloaded):
            next(shared.stream(EXPERIMENTS["counts"], {"steps": 3}, 0))
    until(runner.ended.is_set)


def test_another_client_is_served_before_the_many_runs_of_one(lab):
    """A shared run waits under the names of the client that requested it first and of those that joined."""
    runner = ProcessRunner(deadline=60.0, memory=1024, slots=1, confined=lab.confined)
    shared, finished = SharedRunner(runner), []

    def ask(client: str, steps: int) -> threading.Thread:
        context = contextvars.copy_context()
        context.run(CLIENT.set, Client(client))

        def measure() -> None:
            _run_to_end(shared, "counts", steps)
            finished.append(client)

        thread = threading.Thread(target=context.run, args=(measure,), daemon=True)
        thread.start()
        return thread

    occupying = runner.stream(EXPERIMENTS["sleeps"], {"steps": 1000}, 0)
    with closing(occupying):
        assert not isinstance(next(occupying), QueuePosition)
        threads = [ask("many", steps) for steps in range(1, 21)]
        until(lambda: shared.waiting == 20)
        threads += [ask("new", 100), ask("joins", 15)]
        until(lambda: (shared.waiting_of("new"), shared.waiting_of("joins"), shared.waiting) == (1, 1, 21))
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    assert {"joins", "new"} <= set(finished[:6])  # in order of arrival they would be the 15th and the last
    assert len(finished) == 22
