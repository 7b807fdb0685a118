"""The machine of this process, as receipts name it, and the environment on which the bits of a result depend.

A run may be executed on another machine than the one that answers; each of them describes itself.
"""

import os
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qa_service import __version__

Environment = tuple[str, ...]
"""Versions of torch, Python and numstab; system, architecture and model of the processor."""


def environments_here() -> list[Environment]:
    """The environments of a runner that executes on this machine only: one, that of this process."""
    return [environment()]


@cache
def machine_name() -> str:
    """The machine as a receipt names it, such as "Linux x86_64, 8 cores, CPU"."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, CPU"


@cache
def environment(torch: str = "", python: str = "") -> Environment:
    """The environment of this machine: where it is equal, equal seeds give the same result bit for bit.

    `torch` and `python` are the versions of the interpreter that runs experiments, if it is not this one.
    """
    if not torch:
        try:
            torch = version("torch")
        except PackageNotFoundError:
            torch = "none"
    processor = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        processor = next((line for line in lines if line.startswith("model name")), "")
    processor = processor or platform.processor()  # last, because it may start a subprocess
    return torch, python or platform.python_version(), __version__, platform.system(), platform.machine(), processor
