"""Creates .venv from the lock. Standard library only; pip alone suffices, uv is used where it is there.

    python3 scripts/setup.py          what `numstab` needs
    python3 scripts/setup.py --dev    also what the tests need

Does nothing when .venv already matches the lock. Source of the torch rule: docs/decisions/0002-locks.md.
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
    """Sets up, or finds that nothing has to be done."""
    dev = "--dev" in sys.argv[1:]
    lock = ROOT / ("requirements-dev.lock" if dev else "requirements.lock")
    stamp = VENV / f".installed-{lock.stem}"
    wanted = fingerprint(lock)
    if stamp.is_file() and stamp.read_text() == wanted and PYTHON.exists():
        return 0
    if sys.version_info < (3, 11):
        sys.exit(f"numstab needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
    started = time.monotonic()
    uv = shutil.which("uv")
    print_step(1, "creating .venv" + (" (uv found: it installs all but torch)" if uv else ""))
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", str(VENV))
    print_step(2, f"installing {lock.name}, each file checked against its hash")
    install_locked(uv, lock)
    print_step(3, f"installing {torch_pin()} (the CPU build wherever your index offers one)")
    pip("install", "--constraint", str(without_hashes(lock)), torch_pin())
    pip("install", "--no-deps", "--no-build-isolation", "--quiet", "--editable", str(ROOT))
    print_step(4, "compiling, and building the index of phrasings and the chart bundle")
    run(str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(ROOT / "qa_service"))
    run(str(PYTHON), "-m", "qa_service", "prepare")
    stamp.write_text(wanted)
    if dev:  # the larger lock holds the smaller one
        (VENV / ".installed-requirements").write_text(fingerprint(ROOT / "requirements.lock"))
    print(f"ready after {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


def fingerprint(lock: Path) -> str:
    """What an environment was made of: the lock, the project's own file, and the place it is installed from."""
    return hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()


def print_step(step: int, what: str) -> None:
    """One line of progress; pip and uv draw their own bars below it."""
    print(f"[{step}/4] {what}", file=sys.stderr, flush=True)


def run(*command: str) -> None:
    """Runs a command with its output on standard error, so that `make ask … --json` stays clean."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"set-up stopped at: {' '.join(command)} (exit {failed.returncode})")


def pip(*arguments: str) -> None:
    """Pip of the new environment; it writes .pyc files by itself."""
    run(str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments)


def install_locked(uv: str | None, lock: Path) -> None:
    """Every package at its exact version and hash. What uv cannot reach (it does not read pip's settings), pip can."""
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
    """The exact version of torch that pyproject.toml asks for."""
    found = re.search(r"torch==[\d.]+", (ROOT / "pyproject.toml").read_text())
    assert found, "pyproject.toml pins torch exactly"
    return found.group()


def without_hashes(lock: Path) -> Path:
    """The lock as constraints: what torch needs is there already; only its GPU build brings more."""
    pins = [line.rstrip(" \\") for line in lock.read_text().splitlines() if re.match(r"[a-z]", line)]
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    return constraints


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
