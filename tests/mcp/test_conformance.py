"""The official conformance scenarios of MCP, the Model Context Protocol, without those that need a special test server.

npm fetches their package, as package-lock.json pins it, into node_modules; it needs Node 22. Most of the scenarios left
out call tools, prompts and resources (`test_simple_text`, …) that only such a test server has.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, numstab_server

from scripts import javascript

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "toys"
PACKAGE = "@modelcontextprotocol/conformance"
CONFORMANCE = ROOT / "node_modules" / PACKAGE / "dist" / "index.js"
OLDEST_NODE = 22
MODERN, LEGACY = "2026-07-28", "2025-11-25"
BOTH = ("completion-complete", "tools-list", "server-sse-multiple-streams", "resources-list", "prompts-list",
        "dns-rebinding-protection")  # fmt: skip
SCENARIOS = [
    *((scenario, version) for scenario in BOTH for version in (MODERN, LEGACY)),
    *((scenario, LEGACY) for scenario in ("server-initialize", "server-session-lifecycle", "ping")),
    *((scenario, MODERN) for scenario in ("sep-2164-resource-not-found", "caching", "http-header-validation",
                                          "input-required-result-unsupported-methods", "server-stateless")),
]  # fmt: skip
NEEDS_A_FIXTURE = {"server-stateless": 4}
"""How many checks of a scenario ask for a tool of the fixture; they say "Not testable"."""


@pytest.fixture(scope="module")
def node() -> str:
    wheel = javascript.node_wheel()
    commands = [str(wheel / "bin" / "node")] if wheel else []
    found = next((command for command in [*commands, "node"] if version_of(command) >= OLDEST_NODE), None)
    if found is None:
        pytest.skip(f"needs Node {OLDEST_NODE}")
    problem = javascript.fetch_packages()
    if not javascript.is_installed(PACKAGE):
        pytest.skip(f"npm cannot fetch {PACKAGE}: {problem}")
    return found


def version_of(command: str) -> int:
    """The major version of a Node executable; 0 if it does not run."""
    if shutil.which(command) is None:
        return 0
    shown = subprocess.run(
        [command, "--version"], capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
    ).stdout
    found = re.match(r"v(\d+)\.", shown)
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def address(node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    env = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(folder),
           "NUMSTAB_DATA": str(folder), "NUMSTAB_RATE": ""}  # fmt: skip
    with numstab_server(env, folder / "log") as (running, _):
        yield running


@pytest.mark.exhaustive
@pytest.mark.server
@pytest.mark.parametrize(("scenario", "version"), SCENARIOS)
def test_scenario(node, address, scenario, version, tmp_path):
    """The scenario ends without a failed check, apart from checks that only the special test server can pass."""
    command = [node, str(CONFORMANCE), "server", "--url", f"{address}/mcp", "--scenario", scenario]
    done = subprocess.run([*command, "--spec-version", version], cwd=tmp_path, capture_output=True, text=True,
                          check=False, timeout=120)  # fmt: skip
    counted = re.search(r"Passed: (\d+)/(\d+), (\d+) failed", done.stdout)
    assert counted, done.stdout + done.stderr
    passed, _, failed = map(int, counted.groups())
    assert passed
    assert failed == done.stdout.count("Error: Not testable") == NEEDS_A_FIXTURE.get(scenario, 0), done.stdout
