"""Preloaded first in the fork server: closes it to other processes and takes what a demo has no use for, such as
passwords, out of the environment; removes the folder of its socket when the service has been killed.

What remains of the environment says where programs, folders and the user are, the language, and how many threads or
which instructions the numerical libraries use, as numbers depend on the latter. The kernel's copy
(/proc/self/environ) is overwritten too.
"""

import atexit
import ctypes
import os
import re
import sys
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

from qa_service.lab.kernel import close_to_other_processes

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


def _remove_socket() -> None:
    """Remove the socket and its folder, unless the service has done so: this process ends when the service has."""
    address = forkserver._forkserver._forkserver_address  # type: ignore[attr-defined]  # noqa: SLF001
    with suppress(OSError, TypeError):
        Path(address).unlink(missing_ok=True)
        Path(address).parent.rmdir()


if getattr(sys.modules["__main__"], "main", None) is forkserver.main:  # not where a test imports it
    with suppress(OSError):
        close_to_other_processes()
    scrub_environment()
    atexit.register(_remove_socket)
