"""`numstab doctor`: what it finds in a working installation, and in a broken one."""

import platform
import socket
import sys
from dataclasses import replace

from qa_service.tools.doctor import run_checks


def test_nothing_is_wrong_with_a_working_installation(settings):
    """Experiments are sandboxed wherever seccomp is supported."""
    checks = {check.name: check for check in run_checks(settings, port=0)}
    assert {name: check.says.en for name, check in checks.items() if check.state == "wrong"} == {}
    if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64"):
        assert checks["seccomp"].state == "ok"


def test_what_is_wrong_is_named_with_what_to_do(settings, tmp_path):
    """A knowledge base without entries, and a port that is in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        checks = {check.name: check for check in run_checks(replace(settings, kb=tmp_path), port)}
    wrong = {name: check for name, check in checks.items() if check.state == "wrong"}
    assert set(wrong) == {"library", "index", "port"}
    assert str(tmp_path) in wrong["library"].says.en
    assert all(check.todo and check.todo.zh and check.todo.en for check in wrong.values())
