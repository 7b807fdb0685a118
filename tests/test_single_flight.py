"""Identical runs are one run: listeners share what is being measured, what was measured is remembered."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS
from qa_service.runner.runner import Cancelled, ProcessRunner
from qa_service.runner.single_flight import SharedRunner

from qa_service.experiments.spec import load_specs
from qa_service.model import RunStatus

EXPERIMENTS = load_specs(Path(__file__).resolve().parent / "toys" / "demos")


class Counted:
    """The toy lab, counting its runs; `over` once one has ended."""

    def __init__(self, lab):
        self._lab, self.ran, self.over = lab, 0, threading.Event()

    def __getattr__(self, name):
        return getattr(self._lab, name)

    def stream(self, *what):
        self.ran += 1
        try:
            return (yield from self._lab.stream(*what))
        finally:
            self.over.set()


@pytest.fixture
def counted(lab):
    return Counted(lab)


def _listen(sharing: SharedRunner, slug: str, steps: int, seed: int = 0, stopped: Callable[[], bool] = lambda: False):
    rows = []
    stream = sharing.stream(EXPERIMENTS[slug], {"steps": steps}, seed, stopped)
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as end:
            return rows, end.value


def test_many_who_ask_the_same_at_once_share_one_run(counted):
    """Each hears every row from the first, whenever he came."""
    sharing, heard = SharedRunner(counted), []
    threads = [threading.Thread(target=lambda: heard.append(_listen(sharing, "counts", 50))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    assert counted.ran == 1
    assert len(heard) == 20
    for rows, run in heard:
        assert [row["value"] for row in rows] == list(range(1, 51))
        assert (run.status, run.measured["last"]) == (RunStatus.RAN, 50)


def test_what_was_measured_is_remembered_and_says_so(counted):
    """The same code, parameters and seed: the same numbers, marked; another seed is another run."""
    sharing = SharedRunner(counted)
    (rows, first), (again, second), (_, other) = (_listen(sharing, "counts", 4, seed) for seed in (1, 1, 2))
    assert counted.ran == 2
    assert again == rows
    assert second.measured == first.measured != other.measured
    assert [run.cached for run in (first, second, other)] == [False, True, False]


def test_memory_is_bounded(counted):
    """The oldest runs are forgotten first."""
    sharing = SharedRunner(counted, max_rows=12)
    for steps in (3, 4, 5, 3, 5):
        _listen(sharing, "counts", steps)
    assert counted.ran == 4  # of 4 and 5 steps there was room, of 3 no more


def test_a_failure_is_not_remembered(counted):
    """It may go better next time."""
    sharing = SharedRunner(counted)
    for _ in range(2):
        assert _listen(sharing, "raises", 1)[1].status is RunStatus.RAISED
    assert counted.ran == 2


def test_a_run_ends_with_its_last_listener():
    """One of two leaves: the run goes on. The other leaves: it is over, its slot is free, and who comes then gets a run
    of their own.
    """
    counted = Counted(ProcessRunner(deadline=60.0, memory=1024, slots=1))
    sharing, ended = SharedRunner(counted), []
    leave, heard = ([threading.Event(), threading.Event()] for _ in range(2))

    def listen(at: int) -> None:
        stream = sharing.stream(EXPERIMENTS["sleeps"], {"steps": 100_000}, 0, leave[at].is_set)
        try:
            for _ in stream:
                heard[at].set()
        except Cancelled:
            ended.append(at)

    threads = [threading.Thread(target=listen, args=(at,), daemon=True) for at in range(2)]
    try:
        for thread, row in zip(threads, heard, strict=True):
            thread.start()
            assert row.wait(TIMEOUT_SECONDS)
        leave[0].set()
        threads[0].join(TIMEOUT_SECONDS)
        heard[1].clear()
        assert heard[1].wait(TIMEOUT_SECONDS), "the other hears no more rows"
        assert (ended, counted.ran, counted.over.is_set()) == ([0], 1, False)
        leave[1].set()
        threads[1].join(TIMEOUT_SECONDS)
        assert counted.over.wait(TIMEOUT_SECONDS)
        assert ended == [0, 1]
    finally:
        for event in leave:
            event.set()
    assert _listen(sharing, "sleeps", 2)[1].status is RunStatus.RAN
    assert counted.ran == 2
