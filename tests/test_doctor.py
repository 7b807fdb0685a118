"""The checks of `numstab doctor`, in a working installation and in a broken one."""

import json
import os
import socket
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import pytest
from processes import until
from redis import Redis
from sqlalchemy import text

from bench.valkey import run_valkey, valkey_program
from qa_service import __version__
from qa_service.lab import cluster_inspection, landlock, seccomp
from qa_service.lab.cluster_inspection import inspect_cluster
from qa_service.store.engine import open_engine
from qa_service.tools import doctor
from qa_service.tools.doctor import run_checks


def test_working_installation_passes(settings):
    """Among the checks is that experiments are confined wherever the kernel can do it."""
    checks = {check.name: check for check in run_checks(settings, port=0)}
    assert {name: check.says.en for name, check in checks.items() if check.state == "wrong"} == {}
    if not seccomp.why_unsupported():
        assert checks["sandbox"].state == ("ok" if landlock.landlock_version() else "note")


def test_a_machine_that_cannot_confine_is_at_fault_unless_that_is_wanted(settings, tmp_path, monkeypatch):
    """On a processor that the sandbox does not support, the check fails and says what to do in both languages, unless a
    setting allows it.
    """
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
    """Tested with a knowledge base without entries, and a port that is in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        checks = {check.name: check for check in run_checks(replace(settings, kb=tmp_path), port)}
    failed = {name: check for name, check in checks.items() if check.state == "wrong"}
    assert set(failed) == {"library", "index", "port"}
    assert str(tmp_path) in failed["library"].says.en
    assert all(check.todo and check.todo.zh and check.todo.en for check in failed.values())


def found(settings, name):
    """The result of one check in an installation without content, so that the other checks are quick."""
    checks = run_checks(replace(settings, kb=settings.data, demos=settings.data), 0)
    return next((each for each in checks if each.name == name), None)


@pytest.fixture
def installation(settings, tmp_path):
    """Settings of an installation without entries and demos."""
    return replace(settings, data=tmp_path)


def says_what_to_do(check):
    """Whether the result is a failure with a description and a remedy in both languages."""
    return check.state == "wrong" and all((check.says.zh, check.says.en, check.todo.zh, check.todo.en))


def test_a_shared_server_that_does_not_answer_is_at_fault(installation):
    """If no shared server is set, it is not checked."""
    assert found(installation, "shared") is None
    check = found(replace(installation, shared="redis://:s3cret@127.0.0.1:9"), "shared")
    assert says_what_to_do(check)
    assert "s3cret" not in str(check)


@pytest.mark.skipif(valkey_program() is None, reason="no Valkey or Redis; on Debian: redis-server")
def test_a_shared_server_must_know_the_password_and_take_what_is_shared(installation):
    """A wrong password and a replica are told apart; a sound server is left as it was."""
    with run_valkey() as valkey:
        assert found(replace(installation, shared=valkey.url), "shared").state == "ok"
        client = Redis.from_url(valkey.url)
        client.execute_command("REPLICAOF", "127.0.0.1", "9")
        check = found(replace(installation, shared=valkey.url), "shared")
        assert says_what_to_do(check)
        assert "replica" in check.says.en
        client.execute_command("REPLICAOF", "NO", "ONE")
        until(lambda: not client.keys())
        client.config_set("requirepass", "s3cret")
        check = found(replace(installation, shared=valkey.url.replace("//", "//:wrong@")), "shared")
        assert says_what_to_do(check)
        assert "password" in check.says.en
        client.close()


@pytest.mark.timeout(120)
def test_a_store_that_is_away_or_silent_is_at_fault(installation):
    """The check fails within seconds and does not print the store's address, which may have a password."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (9, silent.getsockname()[1]):
            url = f"postgresql+psycopg://me:s3cret@127.0.0.1:{port}/none"
            check = found(replace(installation, store=url), "store")
            assert says_what_to_do(check)
            assert "s3cret" not in str(check)


@pytest.mark.parametrize(("revision", "state"), [(None, "ok"), ("0001", "note"), ("9999", "wrong")])
def test_the_version_of_the_store_is_compared(installation, tmp_path, revision, state):
    """An older one is brought up to date; a newer one needs a newer numstab."""
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    assert found(replace(installation, store=url), "store").state == "note"
    engine = open_engine(url)
    if revision is not None:
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    engine.dispose()
    check = found(replace(installation, store=url), "store")
    assert check.state == state
    assert state != "wrong" or (says_what_to_do(check) and "9999" in check.says.zh)


HERE = {"id": "a", "slots": 2, "numstab": __version__, "environment": ["2.13.0"]}
OLD, OTHER = HERE | {"numstab": "0.0.9"}, HERE | {"environment": ["2.4.0"]}


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'numstab[cluster]'")
@pytest.mark.parametrize(
    ("messages", "state", "says"),
    [
        ([["nodes", []], ["nodes", [HERE, HERE]]], "ok", ("2", "4")),
        ([["nodes", [HERE]], ["nodes", [HERE, OTHER]]], "note", ("2", "torch")),
        ([["nodes", [HERE, OLD]]], "wrong", ("1", "0.0.9", __version__)),
        ([["nodes", [OLD]]], "wrong", ("0", "0.0.9")),
        ([["nodes", [HERE]], ["refused", "it cannot confine"]], "wrong", ("1", "it cannot confine")),
        ([["problem", "AuthenticationError: token"]], "wrong", ("AuthenticationError: token",)),
    ],
)
def test_the_machines_of_a_cluster_are_counted_and_compared(installation, monkeypatch, messages, state, says):
    """Those of another version, those that refuse, and a cluster that is not reached are faults."""
    lines = "".join(f"0 {json.dumps(message)}\n" for message in messages)
    driver = (sys.executable, "-c", f"import sys; sys.stdout.write({lines!r}); sys.stdout.flush(); sys.stdin.read()")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    monkeypatch.setattr(cluster_inspection, "inspect_cluster", partial(inspect_cluster, driver=driver))
    check = found(replace(installation, cluster="127.0.0.1:6379"), "cluster")
    assert check.state == state
    assert all(word in text for word in says for text in (check.says.zh, check.says.en)), check.says
    assert state != "wrong" or says_what_to_do(check)


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'numstab[cluster]'")
def test_a_cluster_needs_a_token(installation, monkeypatch, tmp_path):
    """If a cluster is set, the check fails without a token; without a cluster in the settings there is no such
    check.
    """
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found(installation, "cluster") is None
    check = found(replace(installation, cluster="127.0.0.1:6379"), "cluster")
    assert says_what_to_do(check)
    assert "RAY_AUTH_TOKEN_PATH" in check.says.zh


@pytest.mark.parametrize(("needs", "state"), [("numpy", "note"), ("numstab-core[whole]==0.1.0", "ok")])
def test_a_whole_with_files_of_its_own_beside_the_core_is_noticed(settings, tmp_path, monkeypatch, needs, state):
    """The published package numstab has no files and requires numstab-core; one with files is reported."""
    for name, requirement in (("numstab", needs), ("numstab_core", "numpy")):
        folder = tmp_path / f"{name}-0.1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1.0\nRequires-Dist: {requirement}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    (check,) = (each for each in run_checks(replace(settings, kb=tmp_path, demos=tmp_path), 0) if each.name == "python")
    assert (check.state, check.todo is not None) == (state, state == "note")


@pytest.mark.parametrize("checkout", [True, False])
def test_another_torch_is_noted(installation, monkeypatch, tmp_path, checkout):
    """Another torch than the tested one is a note; in a checkout, which has a lock, it says to install from that."""
    monkeypatch.setattr(doctor, "version", lambda _name: "2.14.1+cpu")
    if not checkout:
        monkeypatch.setattr(doctor, "bundled", lambda name: tmp_path / name)
    check = found(installation, "torch")
    assert (check.state, check.todo is not None) == ("note", checkout)
    assert "2.14.1" in check.says.zh


def test_experiments_of_another_python_are_run_there(settings, tmp_path):
    """One without torch is named by the check that runs an experiment."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages: no torch
    python.chmod(0o755)
    checks = {each.name: each for each in run_checks(replace(settings, python=str(python)), 0)}
    assert (checks["torch"].state, checks["run"].state) == ("ok", "wrong")
    assert "NUMSTAB_PYTHON" in checks["run"].says.en
