"""The checks of `numstab doctor`, in a working installation and in a broken one."""

import os
import socket
import sys
from dataclasses import replace

import pytest

from qa_service.lab import landlock, seccomp
from qa_service.tools.doctor import run_checks


def test_working_installation_passes(settings):
    """Experiments are confined wherever the kernel can do it."""
    checks = {check.name: check for check in run_checks(settings, port=0)}
    assert {name: check.says.en for name, check in checks.items() if check.state == "wrong"} == {}
    if not seccomp.why_unsupported():
        assert checks["sandbox"].state == ("ok" if landlock.version() else "note")


def test_a_machine_that_cannot_confine_is_at_fault_unless_that_is_wanted(settings, tmp_path, monkeypatch):
    """On a machine of a kind that the filter does not know. What to do is said in both languages."""
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'abacus'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    broken = replace(settings, kb=tmp_path, demos=tmp_path)
    (check,) = (each for each in run_checks(broken, port=0) if each.name == "sandbox")
    assert (check.state, "x86-64" in check.says.en) == ("wrong", True)
    assert check.todo
    assert all("NUMSTAB_SANDBOX=off" in text for text in (check.todo.zh, check.todo.en))
    (check,) = (each for each in run_checks(replace(broken, sandbox="off"), port=0) if each.name == "sandbox")
    assert check.state == "note"


def test_failed_checks_say_what_to_do(settings, tmp_path):
    """With a knowledge base without entries, and a port that is in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        checks = {check.name: check for check in run_checks(replace(settings, kb=tmp_path), port)}
    failed = {name: check for name, check in checks.items() if check.state == "wrong"}
    assert set(failed) == {"library", "index", "port"}
    assert str(tmp_path) in failed["library"].says.en
    assert all(check.todo and check.todo.zh and check.todo.en for check in failed.values())


def test_a_shared_server_that_does_not_answer_is_at_fault(settings, tmp_path):
    """Without one there is no check of it."""
    broken = replace(settings, kb=tmp_path, demos=tmp_path)
    assert "shared" not in {check.name for check in run_checks(broken, port=0)}
    checks = run_checks(replace(broken, shared="redis://:s3cret@127.0.0.1:9"), port=0)
    (check,) = (each for each in checks if each.name == "shared")
    assert (check.state, check.todo is not None) == ("wrong", True)
    assert "s3cret" not in str(check)


@pytest.mark.parametrize(("needs", "state"), [("numpy", "note"), ("numstab-core[whole]==0.1.0", "ok")])
def test_a_whole_with_files_of_its_own_beside_the_core_is_noticed(settings, tmp_path, monkeypatch, needs, state):
    """The published whole has none, and requires the core."""
    for name, requirement in (("numstab", needs), ("numstab_core", "numpy")):
        folder = tmp_path / f"{name}-0.1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1.0\nRequires-Dist: {requirement}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    (check,) = (each for each in run_checks(replace(settings, kb=tmp_path, demos=tmp_path), 0) if each.name == "python")
    assert (check.state, check.todo is not None) == (state, state == "note")


def test_experiments_of_another_python_are_run_there(settings, tmp_path):
    """One without torch is named by the check that runs an experiment."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages: no torch
    python.chmod(0o755)
    checks = {each.name: each for each in run_checks(replace(settings, python=str(python)), 0)}
    assert (checks["torch"].state, checks["run"].state) == ("ok", "wrong")
    assert "NUMSTAB_PYTHON" in checks["run"].says.en
