"""Creates .venv from a lock file. Standard library only; needs pip, and uses uv if it is installed.

    python3 scripts/setup.py          what `numstab` needs
    python3 scripts/setup.py --dev    also what the tests need

Does nothing if .venv already matches the lock. Why torch is installed by itself: docs/decisions/0002-locks.md.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def main() -> int:
    """Sets up .venv unless it is up to date; returns exit status 0."""
    dev = "--dev" in sys.argv[1:]
    lock = ROOT / ("requirements-dev.lock" if dev else "requirements.lock")
    stamp = VENV / f".installed-{lock.stem}"
    expected = environment_fingerprint(lock)
    if stamp.is_file() and stamp.read_text() == expected and PYTHON.exists():
        return 0
    if sys.version_info < (3, 11):
        sys.exit(f"numstab needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
    started = time.monotonic()
    uv = shutil.which("uv")
    print_step(1, "creating .venv" + (" (uv found: it installs all but torch)" if uv else ""))
    if not PYTHON.exists():
        run_command(sys.executable, "-m", "venv", str(VENV))
    print_step(2, f"installing {lock.name}, each file checked against its hash")
    install_locked(uv, lock)
    print_step(3, f"installing {torch_pin()} (the CPU build wherever your index offers one)")
    pip("install", "--constraint", str(without_hashes(lock)), torch_pin())
    pip("install", "--no-deps", "--no-build-isolation", "--quiet", "--editable", str(ROOT))
    print_step(4, "compiling, and building the index of phrasings and the chart bundle")
    run_command(str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(ROOT / "qa_service"))
    run_command(str(PYTHON), "-m", "qa_service", "prepare")
    stamp.write_text(expected)
    if dev:  # the dev lock includes the other
        (VENV / ".installed-requirements").write_text(environment_fingerprint(ROOT / "requirements.lock"))
    print(f"ready after {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


def environment_fingerprint(lock: Path) -> str:
    """A hash of what determines the environment: the lock, pyproject.toml and the path of the checkout."""
    return hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()


def print_step(step: int, what: str) -> None:
    """Prints one line of progress to standard error."""
    print(f"[{step}/4] {what}", file=sys.stderr, flush=True)


def run_command(*command: str) -> None:
    """Runs a command with its output on standard error, so that standard output of `make ask` is the answer only."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"set-up stopped at: {' '.join(command)} (exit {failed.returncode})")


def pip(*arguments: str) -> None:
    """Runs pip of the new environment."""
    run_command(str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments)


def install_locked(uv: str | None, lock: Path) -> None:
    """Installs every package at its exact version and hash, with uv, or with pip if uv is missing or fails.

    uv does not read pip's configuration, so it may not reach the package index that pip uses.
    """
    if uv:
        done = subprocess.run(
            [uv, "pip", "install", "--python", str(PYTHON), "--no-deps", "--require-hashes", "--compile-bytecode",
             "-r", str(lock)],
            check=False, stdout=sys.stderr,
        )  # fmt: skip
        if done.returncode == 0:
            return
    pip("install", "--no-deps", "--require-hashes", "--requirement", str(lock))


def torch_pin() -> str:
    """The requirement of torch in pyproject.toml, such as "torch==2.13.0"."""
    found = re.search(r"torch==[\d.]+", (ROOT / "pyproject.toml").read_text())
    assert found, "pyproject.toml pins torch exactly"
    return found.group()


def without_hashes(lock: Path) -> Path:
    """Writes the pins of the lock as a constraints file for installing torch; returns its path."""
    pins = [line.rstrip(" \\") for line in lock.read_text().splitlines() if re.match(r"[a-z]", line)]
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    return constraints


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
