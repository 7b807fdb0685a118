"""The checks of `numstab doctor`, in a working installation and in a broken one."""

import platform
import socket
import sys
from dataclasses import replace

from qa_service.tools.doctor import run_checks


def test_working_installation_passes(settings):
    """Experiments are sandboxed wherever seccomp is supported."""
    checks = {check.name: check for check in run_checks(settings, port=0)}
    assert {name: check.says.en for name, check in checks.items() if check.state == "wrong"} == {}
    if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64"):
        assert checks["seccomp"].state == "ok"


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
