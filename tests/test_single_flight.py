"""Identical runs are one run: listeners share what is being measured, what was measured is remembered."""

import threading
import time
from collections.abc import Callable

import pytest

from qa_service.lab.runner import Cancelled
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import Run, RunStatus


class Counted:
    """The toy lab, counting its runs."""

    def __init__(self, lab):
        self._lab, self.ran = lab, 0

    def __getattr__(self, name):
        return getattr(self._lab, name)

    def stream(self, *what):
        self.ran += 1
        return self._lab.stream(*what)


@pytest.fixture
def counted(lab):
    return Counted(lab)


def _listen(sharing: SharedRunner, slug: str, steps: int, seed: int = 0, stopped: Callable[[], bool] = lambda: False):
    rows = []
    stream = sharing.stream(sharing.experiment(slug), {"steps": steps}, seed, stopped)
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
        thread.join(30)
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
    sharing = SharedRunner(counted, most_rows=12)
    for steps in (3, 4, 5, 3, 5):
        _listen(sharing, "counts", steps)
    assert counted.ran == 4
    assert sharing._rows <= 12


def test_a_failure_is_not_remembered(counted):
    """It may go better next time."""
    sharing = SharedRunner(counted)
    for _ in range(2):
        assert _listen(sharing, "raises", 1)[1].status is RunStatus.RAISED
    assert counted.ran == 2


def test_a_run_ends_with_its_last_listener(counted):
    """One of two leaves: the run goes on. The other leaves: it is over, and who comes then gets a run of his own."""
    sharing, ended = SharedRunner(counted), []
    leave = [threading.Event(), threading.Event()]

    def listen(at: int) -> None:
        try:
            _listen(sharing, "sleeps", 1000, 0, leave[at].is_set)
        except Cancelled:
            ended.append(at)

    threads = [threading.Thread(target=listen, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    _until(lambda: sharing._flights and next(iter(sharing._flights.values())).listeners == 2)
    leave[0].set()
    threads[0].join(5)
    assert (ended, len(sharing._flights)) == ([0], 1)
    leave[1].set()
    threads[1].join(5)
    assert (ended, len(sharing._flights)) == ([0, 1], 0)
    _until(lambda: counted._line.free == counted.slots)
    assert isinstance(_listen(sharing, "counts", 2)[1], Run)


def _until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
