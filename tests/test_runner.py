"""One process per run: whatever a demo does, its run gets a status, and the next run is unaffected."""

import gc
import json
import marshal
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, running, session_processes, until

from qa_service.errors import UnknownExperiment
from qa_service.lab import interpreter, worker
from qa_service.lab.clients import ClientNames
from qa_service.lab.pool import Child
from qa_service.lab.queue import FairQueue
from qa_service.lab.runner import SERVER_PRELOAD, Cancelled, ProcessRunner, QueuePosition
from qa_service.lab.worker import encode_job
from qa_service.model import Run, RunStatus

TOYS = Path(__file__).resolve().parent / "toys"
MADV_COLLAPSE = 25  # of Linux 6.1 and newer; Python has no name for it


def test_rows_are_streamed_before_the_metrics(toy):
    """Rows arrive in order; the run has the versions that a receipt needs."""
    run = toy("counts", steps=5)
    assert run.status is RunStatus.RAN
    assert [row["value"] for row in run.rows] == [1, 2, 3, 4, 5]
    assert run.measured["last"] == 5
    assert set(run.versions) == {"torch", "python", "numstab"}


def test_the_same_seed_gives_the_same_numbers(toy):
    """Numbers are equal to the last bit; with another seed they differ."""
    first, repeated, other = (toy("counts", seed=seed).measured["random"] for seed in (7, 7, 8))
    assert first == repeated != other


@pytest.mark.parametrize(
    ("slug", "status", "note"),
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
def test_every_failure_gives_a_run_with_its_status(toy, slug, status, note):
    """The run has a note in both languages, and the next run succeeds."""
    if sys.platform == "darwin" and status is RunStatus.OUT_OF_MEMORY:
        pytest.skip("macOS does not enforce RLIMIT_DATA")
    run = toy(slug)
    assert run.status is status, run.note
    assert note in run.note.en
    assert run.note.zh != run.note.en
    assert toy("counts").status is RunStatus.RAN


def test_a_run_past_its_deadline_is_killed(toy_experiments):
    """Its rows are kept, its note gives the deadline in both languages, and its slot is released."""
    lab = ProcessRunner(deadline=120.0, memory=1024, slots=1)
    stream = lab.with_limits(3.0, 1024).stream(toy_experiments["hangs"], {"steps": 1}, 0, lambda: False)
    rows, run = _rows_and_run(stream)
    assert (run.status, list(run.rows)) == (RunStatus.TIMED_OUT, rows)  # a row, if the machine gets to it
    assert "3 s" in run.note.en
    assert "3 秒" in run.note.zh
    assert lab.run(toy_experiments["exits"], {"steps": 1}).status is RunStatus.CRASHED


def _rows_and_run(stream: Generator[object, None, Run]) -> tuple[list[object], Run]:
    """All rows that a stream yields, and the run that it returns."""
    rows: list[object] = []
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as end:
            return rows, end.value


def test_disconnecting_kills_the_child(lab, toy_experiments):
    """A cancelled run ends at once, not at its deadline."""
    cancelled = []
    lab.run(toy_experiments["counts"], {"steps": 1})
    before = children(lab)
    rows = lab.stream(toy_experiments["sleeps"], {"steps": 100_000}, 0, lambda: bool(cancelled))
    next(rows)
    assert children(lab) - before
    cancelled.append(True)
    with pytest.raises(Cancelled):
        list(rows)
    until(lambda: not children(lab) - before, seconds=60)


def test_processes_forked_by_a_demo_are_killed_with_it(toy):
    """On Linux the sandbox does not let a demo fork at all."""
    run = toy("forks")
    if sys.platform.startswith("linux"):
        assert (run.status, "PermissionError" in run.note.en) == (RunStatus.RAISED, True)
    else:
        until(lambda: not _is_alive(int(run.measured["last"])))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
@pytest.mark.parametrize("action", ["network", "local_socket", "write", "delete", "fork", "program", "kill", "thread"])
def test_the_sandbox_denies_network_files_and_processes(toy, action):
    """A demo cannot connect, write or delete files, start processes, threads or programs, or send signals."""
    run = toy("reaches_out", what=action)
    assert run.status is RunStatus.RAISED
    assert ("can't start new thread" if action == "thread" else "PermissionError") in run.note.en


def test_the_sandbox_allows_reading_libraries(toy):
    """Torch imports some of its modules when they are first used."""
    assert toy("reaches_out", what="read").status is RunStatus.RAN


def test_a_child_imports_neither_fronts_nor_retrieval(toy):
    """A child imports torch and the demo, nothing of the service, and uses one thread."""
    assert toy("modules").measured["last"] == 0
    assert toy("threads").measured["last"] == 1


def test_nonfinite_parameters_and_results_are_preserved(toy):
    """The pipe between the processes preserves inf, nan and None."""
    measured = toy("nonfinite", given="NaN").measured
    assert measured["inf"] == float("inf")
    assert measured["minus_inf"] == -float("inf")
    assert measured["nan"] != measured["nan"]
    assert measured["never"] is None
    assert measured["given"] != measured["given"]


def test_an_unknown_experiment_is_an_error(toy_service):
    """The error names the existing experiments."""
    with pytest.raises(UnknownExperiment, match="counts"):
        toy_service.knowledge.experiment("conts")


def test_failed_runs_release_slots_and_descriptors(lab, toy_experiments):
    """Six more failed runs leave at most one more file descriptor open, and both slots free."""
    experiment = toy_experiments["exits"]
    lab.run(experiment, {"steps": 1})
    descriptors_before = _open_descriptors()
    for _ in range(6):
        lab.run(experiment, {"steps": 1})
    gc.collect()
    assert _open_descriptors() <= descriptors_before + 1


def test_idle_children_are_forked_in_advance(toy_experiments):
    """Each child that is used is replaced; killing idle children affects no run."""
    lab = ProcessRunner(deadline=20.0, memory=1024, slots=2, idle=2)
    lab.warm_up()
    experiment = toy_experiments["counts"]
    for _ in range(2):
        until(lambda: lab.ready == 2)
        killed = children(lab)
        assert len(killed) >= 2
        for child in killed:
            os.kill(child, signal.SIGKILL)
        until(lambda: not killed & children(lab))  # noqa: B023
        assert lab.run(experiment, {"steps": 3}).status is RunStatus.RAN
    until(lambda: lab.ready == 2)
    lab.close()


def test_idle_children_are_forked_again_after_a_failure(monkeypatch):
    """A dying fork server refuses to fork; children are forked again without any run being requested."""
    failures = [BlockingIOError(11, "Resource temporarily unavailable"), ConnectionRefusedError(111, "refused")]
    spawn = interpreter.Interpreter.spawn

    def fail_first(server: interpreter.Interpreter) -> Child:
        if failures:
            raise failures.pop()
        return spawn(server)

    monkeypatch.setattr(interpreter.Interpreter, "spawn", fail_first)
    lab = ProcessRunner(slots=1, idle=1)
    lab.warm_up()
    until(lambda: lab.ready == 1, seconds=60)
    lab.close()


def test_queued_runs_report_their_position_and_can_be_cancelled(lab):
    """Runs are served in order of arrival; when one is cancelled, those behind it move up."""
    queue = FairQueue(1)
    first, second, third = queue.join(), queue.join(), queue.join()
    assert [ticket.position for ticket in (first, second, third)] == [0, 1, 2]
    queue.leave(second)
    assert third.position == 1
    queue.leave(first)
    assert third.granted.is_set()
    queue.leave(third)
    assert (queue.free_slots, len(queue)) == (1, 0)


def test_one_clients_many_runs_delay_another_by_one_at_most():
    """Clients take turns however many runs each has waiting; the runs of a single client are served in order of
    arrival.
    """
    queue = FairQueue(2)
    many = [queue.join(ClientNames("a")) for _ in range(500)]
    one = queue.join(ClientNames("b"))
    assert one.position == 1
    assert queue.waiting_of("a") == 498
    assert many[2].position == 2
    queue.leave(many[0])
    assert one.granted.is_set()
    others = [queue.join(ClientNames(name)) for name in "bcc"]
    assert [slot.position for slot in others] == [3, 1, 4]
    queue.leave(many[1])
    assert others[1].granted.is_set()


def test_a_run_that_another_client_joins_has_the_turn_of_either():
    """A client that requests a run already queued by a busy client does not wait for that client's other runs."""
    queue, joined = FairQueue(1), ClientNames("a")
    first, *_ = [queue.join(ClientNames("a")) for _ in range(100)]
    late = queue.join(joined)
    assert late.position == 100
    joined.add("b")
    queue.leave(first)
    assert late.granted.is_set()


def test_a_full_lab_reports_the_position_in_the_queue(lab, toy_experiments):
    """While both slots are occupied, the next run yields its position in the queue, then its rows."""
    cancelled, experiment = [], toy_experiments["sleeps"]
    occupying = [lab.stream(experiment, {"steps": 1000}, 0, lambda: bool(cancelled)) for _ in range(lab.slots)]
    for stream in occupying:
        assert not isinstance(next(stream), QueuePosition)
    waiting = lab.stream(toy_experiments["counts"], {"steps": 3}, 0, lambda: False)
    assert next(waiting) == QueuePosition(1)
    assert lab.waiting == 1
    for stream in occupying:
        stream.close()
    assert [row["value"] for row in waiting] == [1, 2, 3]


def test_a_program_that_answers_imports_little_and_keeps_its_multiprocessing(cache):
    """Without importing torch or a web framework it answers, lists entries and judges claims.

    The fork server is our own, so that a program such as a notebook can use multiprocessing in its own way.
    """
    code = (
        "import sys, os, multiprocessing\n"
        "from qa_service.answering.composition import build\n"
        "from qa_service.settings import Settings\n"
        "from qa_service.model import Request\n"
        "service = build(Settings.from_env(os.environ))\n"
        "answer = service.answer(Request(question='counting numbers one'))\n"
        "assert answer.evidence[0].run.status == 'ran', answer\n"
        "assert answer.evidence[0].verdicts, answer\n"
        "heavy = [name for name in ('torch', 'sentence_transformers', 'fastapi', 'rich') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
        "own = multiprocessing.get_context('forkserver')\n"
        "own.set_forkserver_preload(['colorsys'])\n"  # too late where a fork server has been started
        "process = own.Process(target=exec, args=(\"import sys; assert 'colorsys' in sys.modules\",))\n"
        "process.start()\n"
        "process.join()\n"
        "assert process.exitcode == 0\n"
    )
    toys = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache)}
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, check=True, timeout=TIMEOUT_SECONDS, env=os.environ | toys)


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split()[2] != "Z"


def test_reaping_a_child_delays_nobody(monkeypatch, toy_experiments):
    """A run is complete before the kernel has freed its process, which is joined later."""
    release, joined = threading.Event(), threading.Event()
    join = interpreter.ForkedProcess.join

    def delayed_join(process: interpreter.ForkedProcess, timeout: float | None = None) -> None:
        if threading.current_thread().name == "children" and timeout:
            assert release.wait(TIMEOUT_SECONDS)
            joined.set()
        join(process, timeout)

    monkeypatch.setattr(interpreter.ForkedProcess, "join", delayed_join)
    lab = ProcessRunner(deadline=20.0, slots=1, idle=1)
    try:
        assert lab.run(toy_experiments["counts"], {"steps": 2}).status is RunStatus.RAN
        assert not joined.is_set()
    finally:
        release.set()
    assert joined.wait(TIMEOUT_SECONDS)
    lab.close()


def test_an_interrupted_start_leaves_no_child(toy_experiments, monkeypatch):
    """Ctrl-C while a child is started raises KeyboardInterrupt, the new process ends by itself, and the next run
    succeeds.
    """
    runner = ProcessRunner(deadline=60, memory=1024, slots=1)
    runner.run(toy_experiments["counts"], {"steps": 1})
    before = children(runner)
    init = interpreter.ForkedProcess.__init__

    def interrupted(process: interpreter.ForkedProcess, *arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        init(process, *arguments)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job, as tests may be, ignores it
    try:
        with monkeypatch.context() as patch:
            patch.setattr(interpreter.ForkedProcess, "__init__", interrupted)
            with pytest.raises(KeyboardInterrupt):
                runner.run(toy_experiments["counts"], {"steps": 5})
    finally:
        signal.signal(signal.SIGINT, handler)
    until(lambda: not children(runner) - before)
    assert runner.run(toy_experiments["counts"], {"steps": 5}).status is RunStatus.RAN


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are watched through /proc")
def test_a_killed_service_leaves_nothing(tmp_path):
    """Neither a file nor a process: the fork server ends with its service, and its children with it."""
    code = (
        "import os\n"
        "from test_sandbox import EXPERIMENTS, measure\n"
        "assert measure(EXPERIMENTS['counts'], steps=3).status == 'ran'\n"
        "os.kill(os.getpid(), 9)\n"
    )
    env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with running([sys.executable, "-c", code], env=env) as service:
        assert service.wait(TIMEOUT_SECONDS) == -signal.SIGKILL
        until(lambda: not session_processes(service.pid))
    assert not list(tmp_path.iterdir())


def test_runners_share_a_fork_server(lab, toy_experiments):
    """Runners that preload the same modules share one fork server, because starting one takes seconds."""
    other = ProcessRunner(deadline=20.0, memory=1024, slots=1, confined=lab.confined)
    for runner in (lab, other):
        assert runner.run(toy_experiments["counts"], {"steps": 2}).status is RunStatus.RAN
    assert fork_server(other) == fork_server(lab)


def test_what_a_server_does_ahead_changes_no_number(lab, fresh_lab, toy_experiments):
    """A server's fork server and idle children call library functions in advance; results for each seed stay the
    same.
    """
    for seed in (0, 7):
        ours, theirs = (runner.run(toy_experiments["counts"], {"steps": 5}, seed) for runner in (lab, fresh_lab))
        assert (ours.measured, ours.rows, ours.used_rng) == (theirs.measured, theirs.rows, theirs.used_rng)


def test_what_a_demo_keeps_in_its_module_is_gone_with_the_next_seed(lab, toy_experiments):
    """Runs with several seeds share a child process and compiled code, but each executes the module anew."""
    counts = toy_experiments["counts"]
    source = (
        counts.source.replace('"last": float(steps)', '"last": float(SEEN.append(0) or len(SEEN))') + "\nSEEN = []\n"
    )
    runs = lab.run_seeds(replace(counts, source=source), {"steps": 2}, range(3))
    assert [run.measured["last"] for run in runs] == [1, 1, 1]
    assert len({run.measured["random"] for run in runs}) == 3


def test_parameters_share_a_child_and_give_what_single_runs_give(lab, toy_experiments):
    """A failing run affects only its own parameters: the next parameters get another child process."""
    counts = toy_experiments["counts"]
    failing = counts.source.replace('"last": float(steps)', '"last": float(steps) if steps != 3 else 1 / 0')
    assert failing != counts.source
    experiment, settings, seeds = replace(counts, source=failing), [{"steps": n} for n in (2, 3, 4)], [0, 5]
    results = list(lab.run_settings(experiment, settings, seeds))
    assert [[run.status for run in runs] for runs in results] == [
        [RunStatus.RAN] * 2, [RunStatus.RAISED] * 2, [RunStatus.RAN] * 2,
    ]  # fmt: skip
    for params, runs in zip(settings, results, strict=True):
        for seed, run in zip(seeds, runs, strict=True):
            alone = lab.run(experiment, params, seed)
            assert (run.measured, run.rows, run.used_rng) == (alone.measured, alone.rows, alone.used_rng)


def test_random_numbers_without_a_seed_differ_from_run_to_run(lab, fresh_lab, toy_experiments):
    """The preparation in the fork server does not seed generators that an experiment leaves unseeded."""
    counts = toy_experiments["counts"]
    source = counts.source.replace('"last": float(steps)', '"last": __import__("random").random()')
    for runner in (lab, fresh_lab):
        first, second = (runner.run(replace(counts, source=source), {"steps": 2}) for _ in range(2))
        assert first.measured["random"] == second.measured["random"]
        assert first.measured["last"] != second.measured["last"]


def test_a_source_is_compiled_once_for_all_its_runs(toy_experiments, monkeypatch):
    """Compiling executes nothing of the source."""
    source = 'import sys\nsys.executed = True\n"""' + toy_experiments["counts"].slug + '"""\n'
    compiled = []
    monkeypatch.setattr(
        worker, "compile", lambda *args, **kwargs: compiled.append(args) or compile(*args, **kwargs), raising=False
    )
    first, second = (json.loads(encode_job("x.py", source, {}, seed, 5.0, 100, confined=True)) for seed in (0, 1))
    assert len(compiled) == 1
    assert [i for i, (one, other) in enumerate(zip(first, second, strict=True)) if one != other] == [4], "the seed"
    assert not hasattr(sys, "executed")


def test_a_child_whose_python_has_another_format_of_code_compiles_the_source_itself(lab, toy_experiments, monkeypatch):
    counts = toy_experiments["counts"]
    measured = lab.run(counts, {"steps": 3}).measured
    monkeypatch.setattr(worker, "BYTECODE_FORMAT", "another")
    monkeypatch.setattr(marshal, "dumps", lambda _: b"what this Python cannot read")
    theirs = replace(counts, source=f"{counts.source}\n# not compiled before\n")
    assert lab.run(theirs, {"steps": 3}).measured == measured


@pytest.mark.parametrize(
    ("added", "note"),
    [("\nyield = 1", "SyntaxError"), ("\0", "null bytes"), ("\n" + "(" * 300 + ")" * 300, "parenthes")],
)
def test_what_cannot_be_compiled_is_reported_by_its_run(lab, toy_experiments, added, note):
    counts = toy_experiments["counts"]
    run = lab.run(replace(counts, source=counts.source + added), {"steps": 2})
    assert run.status is RunStatus.RAISED
    assert note in run.note.en


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's account of memory")
def test_a_services_children_are_forked_from_huge_pages(fresh_lab, toy_experiments):
    """Tested where the kernel has huge pages: forking and ending a child takes time in proportion to the number of
    pages.
    """
    assert SERVER_PRELOAD[-1] == "qa_service.lab.preload"
    with mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as probe:
        probe.write(bytes(len(probe)))
        try:
            probe.madvise(MADV_COLLAPSE)
        except OSError as error:  # an older kernel, or a machine whose free memory is in pieces
            pytest.skip(f"no huge pages here: {error}")
    assert fresh_lab.run(toy_experiments["counts"], {"steps": 2}).status is RunStatus.RAN
    rollup = Path(f"/proc/{fork_server(fresh_lab)}/smaps_rollup").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    assert sizes["AnonHugePages"] > 0, sizes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of Linux")
def test_what_is_allocated_after_holes_are_filled_lies_together():
    """New blocks use as few memory pages as their size needs, instead of being spread over hundreds."""
    code = (
        "import ctypes, random, sys\n"
        "from qa_service.lab import kernel\n"
        "kept = [bytes(200) for _ in range(40_000)]\n"
        "random.Random(0).shuffle(kept)\n"
        "del kept[::40]\n"
        "if sys.argv[1] == 'fill': kernel.fill_free_memory()\n"
        "new = [bytes(200) for _ in range(500)]\n"
        "print(len({id(each) >> 12 for each in new}))\n"
    )
    spread, together = (
        int(subprocess.run([sys.executable, "-c", code, how], check=True, capture_output=True, text=True).stdout)
        for how in ("leave", "fill")
    )
    assert together < 60 < 200 < spread


def fork_server(runner: ProcessRunner) -> int:
    """The process id of the runner's fork server."""
    assert runner.server_pid
    return runner.server_pid


def children(runner: ProcessRunner) -> set[int]:
    """The children of the runner's fork server that have not ended; other runners may share the server."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == fork_server(runner) and state != "Z":
                found.add(int(status.parent.name))
    return found
