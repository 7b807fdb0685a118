"""The machine of this process, as receipts name it, and what the last bits of results depend on besides the source.

A run is measured on the machine that executes it, which may be another one than the machine that answers.
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
    """The only environment of runs that are executed on this machine."""
    return [environment()]


@cache
def machine() -> str:
    """The machine as a receipt names it, such as "Linux x86_64, 8 cores, CPU"."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, CPU"


@cache
def environment(torch: str = "", python: str = "") -> Environment:
    """What results depend on here: where it is the same, the same seed gives the same bits.

    With the versions of torch and Python that measure, where those are not the ones of this process.
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
    processor = processor or platform.processor()  # it may start a program to find out
    return torch, python or platform.python_version(), __version__, platform.system(), platform.machine(), processor
