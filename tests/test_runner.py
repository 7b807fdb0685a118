"""One process per run: whatever a demo does, it gives a run with a status, and the next run is unaffected."""

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, until
from qa_service.runner.queue import FifoQueue
from qa_service.runner.runner import Cancelled, ProcessRunner, QueuePosition

from qa_service.errors import UnknownExperiment
from qa_service.model import RunStatus

TOYS = Path(__file__).resolve().parent / "toys"


def test_rows_stream_and_metrics_follow(toy):
    """A demo's rows arrive in order, then its metrics, with the versions that a receipt needs."""
    run = toy("counts", steps=5)
    assert run.status is RunStatus.RAN
    assert [row["value"] for row in run.rows] == [1, 2, 3, 4, 5]
    assert run.measured["last"] == 5
    assert set(run.versions) == {"torch", "python", "numstab"}


def test_same_seed_same_numbers(toy):
    """A run can be repeated to the bit; another seed gives another number."""
    first, again, other = (toy("counts", seed=seed).measured["random"] for seed in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize(
    ("slug", "status", "said"),
    [
        ("raises", RunStatus.RAISED, "ValueError: no such luck"),
        ("segfaults", RunStatus.CRASHED, "SIGSEGV"),
        ("exits", RunStatus.CRASHED, "exit code 7"),
        ("killed", RunStatus.CRASHED, "SIGKILL"),
        ("exhausts", RunStatus.OUT_OF_MEMORY, "memory"),
        ("exhausts_python", RunStatus.OUT_OF_MEMORY, "memory"),
        ("nonsense", RunStatus.RAISED, "not a number: last"),
        ("nothing", RunStatus.RAISED, "NoneType"),
        ("other_metrics", RunStatus.RAISED, "extra"),
        ("bad_rows", RunStatus.RAISED, "rows"),
        ("floods", RunStatus.RAISED, "5000 rows"),
        ("garbage", RunStatus.RAISED, "no JSON"),
    ],
)
def test_every_failure_is_evidence(toy, slug, status, said):
    """Each way to fail has its status and a sentence in both languages; the next run is fine."""
    if sys.platform == "darwin" and status is RunStatus.OUT_OF_MEMORY:
        pytest.skip("macOS does not enforce RLIMIT_DATA")
    run = toy(slug)
    assert run.status is status, run.note
    assert said in run.note.en
    assert run.note.zh != run.note.en
    assert toy("counts").status is RunStatus.RAN


def test_a_run_past_its_deadline_is_killed(toy_experiments):
    """It would never end; its rows are kept, the note says the deadline in both languages, the slot is free again."""
    hasty = ProcessRunner(deadline=1.0, memory=1024, slots=1)
    run = hasty.run(toy_experiments["hangs"], {"steps": 1})
    assert (run.status, len(run.rows)) == (RunStatus.TIMED_OUT, 1)
    assert "1 s" in run.note.en
    assert "1 秒" in run.note.zh
    assert hasty.run(toy_experiments["exits"], {"steps": 1}).status is RunStatus.CRASHED


def test_a_reader_who_leaves_takes_the_child_with_him(lab, toy_experiments):
    """Cancelling ends the run at once, not at its deadline."""
    leave = []
    rows = lab.stream(toy_experiments["sleeps"], {"steps": 1000}, 0, lambda: bool(leave))
    next(rows)
    leave.append(True)
    with pytest.raises(Cancelled):
        list(rows)
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def test_what_a_demo_forks_dies_with_it(toy):
    """A demo cannot leave a process behind, where the platform lets it fork at all."""
    run = toy("forks")
    if sys.platform.startswith("linux"):
        assert (run.status, "PermissionError" in run.note.en) == (RunStatus.RAISED, True)
    else:
        until(lambda: not _alive(int(run.measured["last"])))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's filter is Linux's")
@pytest.mark.parametrize("what", ["network", "local_socket", "write", "delete", "fork", "program", "kill"])
def test_a_demo_cannot_reach_out(toy, what):
    """No network, no file written or deleted, no other process or program, nobody else killed."""
    run = toy("reaches_out", what=what)
    assert run.status is RunStatus.RAISED
    assert "PermissionError" in run.note.en


def test_a_demo_may_still_read_and_start_threads(toy):
    """What torch needs."""
    assert toy("reaches_out", what="read").status is RunStatus.RAN
    assert toy("reaches_out", what="thread").status is RunStatus.RAN


def test_a_child_imports_neither_front_nor_index(toy):
    """The child is torch and the demo, nothing of the service; one thread."""
    assert toy("modules").measured["last"] == 0
    assert toy("threads").measured["last"] == 1


def test_nonfinite_parameters_and_results_arrive(toy):
    """inf, nan and None cross the pipe as themselves."""
    measured = toy("nonfinite", given="NaN").measured
    assert measured["inf"] == float("inf")
    assert measured["minus_inf"] == -float("inf")
    assert measured["nan"] != measured["nan"]
    assert measured["never"] is None
    assert measured["given"] != measured["given"]


def test_unknown_experiment_is_named(toy_service):
    """The error says what there is."""
    with pytest.raises(UnknownExperiment, match="counts"):
        toy_service.knowledge.experiment("conts")


def test_slots_are_given_back(lab, toy_experiments):
    """After many failures both slots are free and no descriptor leaks."""
    experiment = toy_experiments["exits"]
    lab.run(experiment, {"steps": 1})
    before = _descriptors()
    for _ in range(6):
        lab.run(experiment, {"steps": 1})
    gc.collect()
    assert _descriptors() <= before + 1


def test_children_wait_for_work(toy_experiments):
    """Forked ahead of need, one for one; they end with the lab, and one that died meanwhile is no loss."""
    lab = ProcessRunner(deadline=20.0, memory=1024, slots=2, idle=2)
    lab.warm_up()
    experiment = toy_experiments["counts"]
    for _ in range(2):
        until(lambda: lab.ready == 2)
        waiting = multiprocessing.active_children()
        assert len(waiting) >= 2
        waiting[0].kill()
        waiting[0].join(TIMEOUT_SECONDS)
        assert lab.run(experiment, {"steps": 3}).status is RunStatus.RAN
    until(lambda: lab.ready == 2)


def test_who_waits_knows_his_place_and_may_leave(lab):
    """First come, first served; who leaves the line lets the others move up."""
    line = FifoQueue(1)
    first, second, third = line.join(), line.join(), line.join()
    assert [ticket.position for ticket in (first, second, third)] == [0, 1, 2]
    line.leave(second)
    assert third.position == 1
    line.leave(first)
    assert third.granted.is_set()
    line.leave(third)
    assert (line.free, len(line)) == (1, 0)


def test_a_busy_lab_says_who_is_before(lab, toy_experiments):
    """Two slots are taken by sleepers: the third run hears its place, then its rows."""
    leave, asleep = [], toy_experiments["sleeps"]
    sleepers = [lab.stream(asleep, {"steps": 1000}, 0, lambda: bool(leave)) for _ in range(lab.slots)]
    for sleeper in sleepers:
        assert not isinstance(next(sleeper), QueuePosition)
    waiting = lab.stream(toy_experiments["counts"], {"steps": 3}, 0, lambda: False)
    assert next(waiting) == QueuePosition(1)
    assert lab.waiting == 1
    for sleeper in sleepers:
        sleeper.close()
    assert [row["value"] for row in waiting] == [1, 2, 3]


def test_asking_imports_no_torch():
    """The parent answers, lists and judges without torch or sentence_transformers."""
    code = (
        "import sys, os\n"
        "from qa_service.answering.service import build\n"
        "from qa_service.settings import Settings\n"
        "from qa_service.model import Request\n"
        "service = build(Settings.from_env(os.environ))\n"
        "service.answer(Request(question='why is my loss nan'))\n"
        "heavy = [name for name in ('torch', 'sentence_transformers', 'fastapi', 'rich') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT_SECONDS)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split()[2] != "Z"


def test_nobody_waits_until_a_child_has_gone(monkeypatch, toy_experiments):
    """A run's numbers are there while the kernel still frees its process; the process is joined all the same."""
    go, joined = threading.Event(), threading.Event()
    join = ForkServerProcess.join

    def slowly(process: ForkServerProcess, timeout: float | None = None) -> None:
        if threading.current_thread().name == "children":
            assert go.wait(TIMEOUT_SECONDS)
            joined.set()
        join(process, timeout)

    monkeypatch.setattr(ForkServerProcess, "join", slowly)
    lab = ProcessRunner(deadline=20.0, slots=1, idle=1)
    try:
        assert lab.run(toy_experiments["counts"], {"steps": 2}).status is RunStatus.RAN
        assert not joined.is_set()
    finally:
        go.set()
    assert joined.wait(TIMEOUT_SECONDS)
    lab.close()
