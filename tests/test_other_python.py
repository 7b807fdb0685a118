"""NUMSTAB_PYTHON: experiments run with another Python and its torch, confined as always."""

import os
import subprocess
import sys
import sysconfig
import threading
import venv
from contextlib import suppress
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, until

from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.interpreter import environment_of
from qa_service.lab.runner import Cancelled, ProcessRunner
from qa_service.machine import environment
from qa_service.model import RunStatus


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> str:
    """A Python with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def torch_python(tmp_path_factory) -> str:
    """A Python that has torch, and nothing of numstab."""
    folder = tmp_path_factory.mktemp("other")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "torch.pth").write_text(sysconfig.get_path("platlib") + "\n")  # its own .pth files are not read
    python = str(folder / "bin" / "python")
    found = "import importlib.util as u; print(u.find_spec('torch') is not None, u.find_spec('qa_service') is not None)"
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run([python, "-P", "-c", found], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["True", "False"]
    return python


@pytest.fixture(scope="module")
def other(torch_python):
    """A runner whose children run in the other Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)
        yield ProcessRunner(deadline=30.0, memory=2048, slots=2, python=torch_python)


def test_numbers_are_those_of_this_python_to_the_bit(other, fresh_lab, toy_experiments):
    """The same code, seed and torch give the same rows and metrics; the receipt has the versions of the other
    Python.
    """
    theirs, ours = (runner.run(toy_experiments["counts"], {"steps": 5}, 7) for runner in (other, fresh_lab))
    assert theirs.status is RunStatus.RAN, theirs.note
    assert (theirs.measured, theirs.rows, theirs.versions) == (ours.measured, ours.rows, ours.versions)


@pytest.mark.parametrize(("slug", "status", "note"), [
    ("raises", RunStatus.RAISED, "ValueError: no such luck"),
    ("segfaults", RunStatus.CRASHED, "SIGSEGV"),
    ("exits", RunStatus.CRASHED, "exit code 7"),
    ("exhausts", RunStatus.OUT_OF_MEMORY, "memory"),
])  # fmt: skip
def test_failures_are_reported_as_ever(other, toy_experiments, slug, status, note):
    """The run has its status and exit code, and the next run works."""
    run = other.run(toy_experiments[slug], {"steps": 1})
    assert run.status is status, run.note
    assert note in run.note.en
    assert other.run(toy_experiments["counts"], {"steps": 1}).status is RunStatus.RAN


def test_a_demo_is_confined_there_too(other, toy_experiments):
    """The toy that forks a process is stopped by the sandbox in the other Python as well."""
    run = other.run(toy_experiments["forks"], {"steps": 1})
    assert run.status is not RunStatus.RAN, run.measured


def test_a_cancelled_run_ends_there_too(other, toy_experiments):
    """A cancelled run ends at once, not at its deadline."""
    stop = threading.Event()
    rows = other.stream(toy_experiments["hangs"], {"steps": 1}, 0, stop.is_set)
    next(rows)
    stop.set()
    with pytest.raises(Cancelled):
        next(rows)


def test_seeds_share_a_child(other, toy_experiments):
    """`run_seeds` gives the same results as single runs."""
    runs = other.run_seeds(toy_experiments["counts"], {"steps": 2}, range(3))
    alone = other.run(toy_experiments["counts"], {"steps": 2}, 2)
    assert runs[2].measured == alone.measured


def servers(python: str) -> list[int]:
    """The fork servers in that Python that this process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
            if int(parent) == os.getpid() and state != "Z" and command.startswith(os.fsencode(python)):
                assert b"interpreter_server" in command
                found.append(int(folder.name))
    return found


def test_a_server_that_was_killed_is_started_again_and_ends_with_its_runner(torch_python, toy_experiments, monkeypatch):
    """A killed fork server is started again without losing an answer; it ends once no runner uses it."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    before = set(servers(torch_python))
    runner = ProcessRunner(python=torch_python, preload=("torch", "qa_service.lab.worker", "colorsys"))
    assert runner.run(toy_experiments["counts"], {"steps": 1}).status is RunStatus.RAN
    started = set(servers(torch_python)) - before
    assert started
    for pid in started:
        os.kill(pid, 9)
    until(lambda: not started & set(servers(torch_python)), TIMEOUT_SECONDS)
    assert runner.run(toy_experiments["counts"], {"steps": 1}).status is RunStatus.RAN
    assert set(servers(torch_python)) - before
    del runner
    until(lambda: not set(servers(torch_python)) - before, TIMEOUT_SECONDS)


def test_a_python_without_torch_is_named(bare_python, toy_experiments):
    """The run says which Python, what is missing and what to do, in both languages."""
    run = ProcessRunner(python=bare_python).run(toy_experiments["counts"], {"steps": 1})
    assert run.status is RunStatus.CRASHED
    for text in (run.note.zh, run.note.en):
        assert "NUMSTAB_PYTHON" in text
        assert bare_python in text
        assert "torch 2.4" in text


@pytest.mark.parametrize(("python", "reason"), [("/nowhere/python", "No such file"), ("false", "no answer")])
def test_a_setting_that_names_no_python_is_reported(python, reason, toy_experiments):
    run = ProcessRunner(python=python).run(toy_experiments["counts"], {"steps": 1})
    assert run.status is RunStatus.CRASHED
    assert f"NUMSTAB_PYTHON={python}" in run.note.en
    assert reason in run.note.en
    assert "Correct" in run.note.en


def test_an_old_torch_is_refused(bare_python, toy_experiments, tmp_path):
    """It is recognised by its version before any demo runs."""
    folder = Path(bare_python).parent.parent
    (packages,) = folder.glob("lib/python*/site-packages")
    fake = packages / "torch.py"
    fake.write_text("__version__ = '1.13.1+cpu'\n")
    try:
        run = ProcessRunner(python=bare_python).run(toy_experiments["counts"], {"steps": 1})
    finally:
        fake.unlink()
    assert "torch 1.13.1+cpu" in run.note.en


def test_runs_of_another_python_are_cached_apart(toy_experiments, tmp_path):
    """Their last bits may differ; the own Python's runs are found again under any path of that Python."""
    run = ProcessRunner().run(counts := toy_experiments["counts"], {"steps": 1})
    RunDiskCache(tmp_path, 1 << 20).put(counts, {"steps": 1}, 0, run)
    here, newer = environment_of(sys.executable), environment("99.0", "3.99.0")
    assert RunDiskCache(tmp_path, 1 << 20, lambda: [here]).get(counts, {"steps": 1}, 0)
    assert RunDiskCache(tmp_path, 1 << 20, lambda: [newer]).get(counts, {"steps": 1}, 0) is None
