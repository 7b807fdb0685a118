"""The environment variables of a fork server and its children: those that no demo needs, passwords too, are removed.

Kept are those for paths and folders, the user, the language, and the threads and instructions of the numerical
libraries, on which results depend. The kernel's copy (/proc/self/environ) is overwritten too.
"""

import ctypes
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

_KEPT = re.compile(
    r"(PATH|HOME|USER|LOGNAME|LANG|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHON(HASHSEED|PATH|HOME|DONTWRITEBYTECODE))$"
    r"|(LC|OMP|KMP|GOMP|MKL|OPENBLAS|ATEN|DNNL|ONEDNN|TORCH|PYTORCH)_"
)
_ENVIRONMENT_STARTS, _ENVIRONMENT_ENDS = 47, 48  # fields of /proc/self/stat, counted from the one after the name


def is_kept(variable: str) -> bool:
    """Whether a demo's process has this environment variable."""
    return bool(_KEPT.match(variable))


def scrub_environment() -> None:
    """Forget every other variable of this process's environment, and hide all graphics cards: demos are for the CPU."""
    for variable in [name for name in os.environ if not is_kept(name)]:
        del os.environ[variable]
    kept = dict(os.environ)
    if sys.platform.startswith("linux"):
        _overwrite_initial_environment()
    os.environ.update(kept)  # the C library's copies may have been in what was overwritten
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _overwrite_initial_environment() -> None:
    """Set the bytes that the kernel put on the stack, and shows in /proc/self/environ, to zero."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ENVIRONMENT_STARTS]), int(fields[_ENVIRONMENT_ENDS])
        if 0 < start < end:
            ctypes.memset(start, 0, end - start)
