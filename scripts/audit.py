"""Looks up every locked package in pip-audit's vulnerability database.

Exit status 1 if a vulnerability is known, 2 if the service cannot be reached or does not know a package ("NOT DONE"),
0 only if every package was looked up and none has one.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXIT_NOT_DONE = 2
"""The exit status if a package could not be looked up, so that a failed look-up does not pass for a clean result."""


def main(command: list[str]) -> int:
    """Runs pip-audit, called as `command`, and prints its findings; returns the exit status."""
    lock = ROOT / "requirements-dev.lock"
    done = subprocess.run(
        [*command, "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json",
         "--requirement", str(lock)],
        check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        print(f"audit: NOT DONE: pip-audit is not there, or its service cannot be reached\n  {lines[-1][:300]}")
        return EXIT_NOT_DONE
    findings = [(package, weak) for package in packages for weak in package.get("vulns", ())]
    for package, weak in findings:
        fixed = ", ".join(weak["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {weak['id']}, fixed in {fixed}")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        print(f"audit: NOT DONE for {len(unknown)} of {len(packages)}: the service does not know them")
    if len(unknown) < len(packages):
        print(f"audit: {len(findings)} vulnerabilities known in {len(packages) - len(unknown)} packages")
    return 1 if findings else EXIT_NOT_DONE if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [sys.executable, "-m", "pip_audit"]))
