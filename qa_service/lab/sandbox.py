"""The sandbox of a child process: what it may use, and what it may not do. It is closed before a demo's code is read.

Memory, CPU seconds and descriptors are limited by the kernel on every platform. On Linux a seccomp filter and Landlock
leave no network, no writing of files, no other process, thread or program, and only the libraries to read. Where that
is impossible `confine` raises, and no demo runs unless the operator has said so (NUMSTAB_SANDBOX=off).
"""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterable

from qa_service.lab import landlock, seccomp
from qa_service.lab.kernel import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    make_nondumpable,
    prctl,
)

_MAX_DESCRIPTORS = 256
_CPU_GRACE_SECONDS = 10  # beyond the deadline, which the parent watches; ends even a child whose parent was killed


class CannotConfine(Exception):
    """The platform or its kernel cannot confine a process; the message says what is missing."""


def sandbox_descriptors() -> Iterable[int]:
    """The descriptors that a fork server has opened for its children's sandboxes; the children must not close them."""
    return landlock.readable_path_rules() if landlock.landlock_version() else ()


class Sandbox:
    """The sandbox of this process: prepared while a child waits for its job; then closed."""

    def __init__(self) -> None:
        self._problem = seccomp.why_unsupported()
        if self._problem:
            return
        try:
            self._filter = seccomp.SeccompFilter(os.getpid())
            self._rules = landlock.Ruleset() if landlock.landlock_version() else None
        except OSError as error:
            self._problem = str(error)

    def confine(self, readable: Iterable[str] = ()) -> None:
        """Confine this process for good; `readable` are files that it may read besides the libraries.

        Raises `CannotConfine`, possibly with a part of it closed.
        """
        if self._problem:
            raise CannotConfine(self._problem)
        try:
            make_nondumpable()
            drop_capabilities()
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            if self._rules is not None:
                for path in readable:
                    self._rules.allow_reading(path)
                self._rules.enforce()
            self._filter.install()
        except OSError as error:
            raise CannotConfine(f"the kernel refused: {error}") from error


def limit_resources(deadline: float, mebibytes: int) -> None:
    """Limit what this process may use from now on: `mebibytes` of memory, CPU seconds, no files, no core dumps."""
    memory = mebibytes << 20
    for limit, value in (
        (resource.RLIMIT_DATA, memory),  # private memory: a tensor's
        (resource.RLIMIT_AS, _address_space() + memory),  # all memory, shared too; what is mapped already was counted
        (resource.RLIMIT_CPU, int(deadline) + _CPU_GRACE_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # no file grows
        (resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS),
    ):
        with contextlib.suppress(ValueError, OSError):  # where the platform refuses, the parent's deadline remains
            resource.setrlimit(limit, (value, value))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent, the fork server, exits. Does nothing but on Linux."""
    if sys.platform.startswith("linux"):
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _address_space() -> int:
    """The bytes of address space in use; half of all where the kernel does not say, which limits nothing."""
    with contextlib.suppress(OSError, ValueError):
        statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)  # in a tenth of the time of a file object
        try:
            return int(os.read(statm, 100).split()[0]) * resource.getpagesize()
        finally:
            os.close(statm)
    return 1 << 62
