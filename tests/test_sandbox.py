"""What a demo must not reach: demos try each way out, and also without the sandbox, where the attempt succeeds."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from processes import running, until

from qa_service.app import create_app
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab import landlock, seccomp
from qa_service.lab.environment import is_kept
from qa_service.lab.runner import ProcessRunner
from qa_service.model import Experiment, Run, RunStatus
from qa_service.settings import Settings

EXPERIMENTS = load_specs(Path(__file__).resolve().parent / "toys" / "demos")
needs_seccomp = pytest.mark.skipif(bool(seccomp.why_unsupported()), reason=seccomp.why_unsupported())
needs_landlock = pytest.mark.skipif(not landlock.landlock_version(), reason="the kernel has no Landlock")
STRANGER = (
    "import ctypes, sys\n"
    'secret = ctypes.create_string_buffer(b"a stranger\'s key")\n'
    "print(ctypes.addressof(secret), flush=True)\n"
    "sys.stdin.read()\n"
)
_MEASURE = f"""
from pathlib import Path
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.runner import ProcessRunner

def measure(slug, confined, **params):
    experiment = load_specs(Path({str(Path(__file__).resolve().parent / "toys" / "demos")!r}))[slug]
    runner = ProcessRunner(deadline=60.0, memory=1024, slots=1, confined=confined)
    return runner.run(experiment, fill_defaults(experiment, params))
"""
"""A toy experiment, measured in a process of its own."""
REACHES = (
    pytest.param("read_memory", marks=needs_landlock),
    "process_vm_readv",
    "take_descriptor",
    "send_signal",
    "limit_another",
)
AT_IMPORT = ("network", "write", "daemon", "program", "thread")


def measure(experiment: Experiment, *, confined: bool = True, deadline: float = 60.0, **params: object) -> Run:
    runner = ProcessRunner(deadline=deadline, memory=1024, slots=1, confined=confined)
    return runner.run(experiment, fill_defaults(experiment, params))


def at_import(action: str, place: object) -> Experiment:
    experiment = EXPERIMENTS["escapes_at_import"]
    constants = f"ACTION, PLACE = {action!r}, {str(place)!r}"
    return replace(experiment, source=experiment.source.replace('ACTION, PLACE = "nothing", ""', constants))


@pytest.fixture
def stranger() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process of this user, and the address of a secret in its memory."""
    pipe = subprocess.PIPE
    with running([sys.executable, "-c", STRANGER], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        yield process, int(process.stdout.readline())


def harmed(stranger: subprocess.Popen[str]) -> bool:
    """Whether a process was ended, wrote unexpected output, or had a limit changed; then ends the process."""
    assert stranger.stdin
    assert stranger.stdout
    limited = stranger.poll() is None and resource.prlimit(stranger.pid, resource.RLIMIT_NOFILE) == (64, 64)
    stranger.stdin.close()
    written = stranger.stdout.read()
    return stranger.wait(30) != 0 or bool(written) or limited


@needs_seccomp
@pytest.mark.parametrize("action", REACHES)
def test_a_demo_reaches_no_other_process(stranger, action):
    """It reaches neither the memory nor the descriptors, signals or limits of another process."""
    process, address = stranger
    run = measure(EXPERIMENTS["escapes"], what=action, pid=process.pid, address=address)
    assert (run.status, "PermissionError" in run.note.en) == (RunStatus.RAISED, True), run
    assert not harmed(process)


@needs_seccomp
@pytest.mark.parametrize("action", REACHES)
def test_without_the_sandbox_it_does(stranger, action):
    """Without the sandbox the same attempts succeed, unless the kernel or a container forbids them; so the test above
    is not vacuous.
    """
    process, address = stranger
    run = measure(EXPERIMENTS["escapes"], confined=False, what=action, pid=process.pid, address=address)
    if "PermissionError" in run.note.en:
        pytest.skip(f"forbidden here to any process: {run.note.en}")
    assert run.measured == {"escaped": 1}
    assert harmed(process) == (action not in ("read_memory", "process_vm_readv"))


@needs_seccomp
@pytest.mark.parametrize("action", ["keep_memory", "new_namespace", "raise_own_limit"])
def test_a_demo_keeps_and_gains_nothing(action):
    """It gets no memory that outlives it, no namespace of its own, no higher limit."""
    run = measure(EXPERIMENTS["escapes"], what=action)
    assert run.status is RunStatus.RAISED, run


@needs_seccomp
def test_without_the_sandbox_memory_outlives_a_demo():
    run = measure(EXPERIMENTS["escapes"], confined=False, what="keep_memory")
    segment = int(run.measured["escaped"]) - 1
    assert ctypes.CDLL(None).shmctl(segment, 0, None) == 0  # IPC_RMID: it was there


@needs_seccomp
@pytest.mark.parametrize("action", ["shared_mapping", "growing_mapping"])
def test_memory_of_every_kind_is_limited(action):
    """The limit includes memory that RLIMIT_DATA does not count; the demo asks for 2 GiB, twice its limit."""
    for confined in (True, False):
        assert measure(EXPERIMENTS["escapes"], confined=confined, what=action).status is not RunStatus.RAN


@needs_landlock
@needs_seccomp
def test_a_demo_reads_the_libraries_only():
    """It cannot read other files of the machine; without the sandbox it can."""
    assert "PermissionError" in measure(EXPERIMENTS["escapes"], what="read_file").note.en
    assert measure(EXPERIMENTS["escapes"], confined=False, what="read_file").status is RunStatus.RAN


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a_demo_finds_no_password_in_its_environment(tmp_path):
    """Neither variables nor the kernel's copy of them contain it; tested in a new process with a new fork server."""
    code = _MEASURE + (
        "for confined in (True, False):\n"
        "    run = measure('escapes', confined, what='read_environment')\n"
        "    assert run.measured == {'escaped': 0}, run\n"
    )
    env = os.environ | {"NUMSTAB_TEST_SECRET": "hunter2", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path, timeout=170)


def test_variables_that_numbers_depend_on_are_kept():
    """Variables with paths and folders are kept too; all others are removed."""
    assert all(map(is_kept, ("PATH", "TMPDIR", "LC_ALL", "OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "MKL_CBWR")))
    assert not any(map(is_kept, ("PGPASSWORD", "NUMSTAB_STORE", "AWS_SECRET_ACCESS_KEY", "PATHOLOGY", "LD_PRELOAD")))


@needs_seccomp
@pytest.mark.parametrize("action", AT_IMPORT)
@pytest.mark.parametrize("confined", [True, False])
def test_a_demo_is_confined_before_its_code_is_imported(tmp_path, action, confined):
    """At import there is no network, writing, surviving process or program, nor a thread older than the filter."""
    place: object = tmp_path
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        if action == "network":
            place = listener.getsockname()[1]
        run = measure(at_import(action, place), confined=confined)
        connected = False
        with suppress(BlockingIOError):
            listener.accept()[0].close()
            connected = True
    if action == "daemon" and not confined:
        until(lambda: any(tmp_path.iterdir()))
        os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)
    assert (run.status, connected or any(tmp_path.iterdir())) == (
        (RunStatus.RAISED, False) if confined else (RunStatus.RAN, True)
    ), run


def test_memory_taken_by_an_import_counts():
    """An import that exceeds the memory limit fails like a run that does."""
    run = measure(at_import("memory", ""), confined=not seccomp.why_unsupported())
    assert run.status is RunStatus.OUT_OF_MEMORY


def test_the_deadline_begins_before_the_import():
    run = measure(at_import("hang", ""), confined=not seccomp.why_unsupported(), deadline=1.0)
    assert (run.status, "1 s" in run.note.en) == (RunStatus.TIMED_OUT, True)


@pytest.mark.parametrize(
    ("action", "status", "note"),
    [
        ("long_rows", RunStatus.RAISED, "2 MiB"),
        ("without_end", RunStatus.TIMED_OUT, "2 s"),
        ("half_a_message", RunStatus.TIMED_OUT, "2 s"),
        ("huge_integer", RunStatus.RAISED, "rows"),
        ("huge_metric", RunStatus.RAISED, "not a number: last"),
        ("half_a_character", RunStatus.RAN, ""),
        ("half_an_exception", RunStatus.RAISED, "half a pair: ?"),
        ("nan_seconds", RunStatus.RAISED, "nan seconds"),
        ("endless_seconds", RunStatus.RAISED, "inf seconds"),
        ("negative_seconds", RunStatus.RAISED, "-1.0 seconds"),
    ],
)
def test_what_a_child_sends_is_bounded_and_checked(toy_service, tmp_path, action, status, note):
    """Size and time are limited even if the pipe is never empty; whatever a child sends, the reply is 200 with valid
    JSON.
    """
    confined = not seccomp.why_unsupported()
    deadline = 2.0 if status is RunStatus.TIMED_OUT else 120.0
    toy_service.runner = ProcessRunner(deadline=deadline, memory=1024, slots=1, confined=confined)
    client = TestClient(create_app(toy_service, Settings(data=tmp_path)), raise_server_exceptions=False)
    reply = client.post("/api/v1/experiments/floods_its_pipe/runs", json={"params": {"what": action}})
    assert (reply.status_code, reply.json()["status"]) == (200, status), reply.text
    assert note in reply.json()["note"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it is so anyway")
def test_where_nothing_can_be_confined_nothing_is_run(tmp_path):
    """On a processor that the sandbox does not support, runs fail, unless a setting allows them without the sandbox."""
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'abacus'\n")
    code = _MEASURE + (
        "run = measure('counts', True, steps=3)\n"
        "assert (run.status, run.rows) == ('crashed', ()), run\n"
        "assert 'NUMSTAB_SANDBOX' in run.note.en and 'NUMSTAB_SANDBOX' in run.note.zh, run\n"
        "assert measure('counts', False, steps=3).status == 'ran'\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path, timeout=170)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl")
def test_a_server_is_closed_to_other_processes():
    """Once a server keeps a fork server, no other process of its user can read its memory."""
    code = (
        "from qa_service.lab.kernel import PR_GET_DUMPABLE, prctl\n"
        "from qa_service.lab.runner import ProcessRunner\n"
        "assert prctl(PR_GET_DUMPABLE) == 1\n"
        "ProcessRunner().warm_up()\n"
        "assert prctl(PR_GET_DUMPABLE) == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=170)
