"""Calls of the Linux kernel that Python's os module does not have, by their numbers on x86-64 and aarch64."""

import ctypes
import os
import platform
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qa_service.memory import release_pages

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 3, 4, 38
_MADV_COLLAPSE, _HUGE_PAGE = 25, 2 << 20
_MALLOC_HEADER, _POOL, _POOL_HEADER, _GAP = 16, 16 << 10, 48, 32  # bytes
_MOST_BLOCKS = 20_000  # of one size
_MOST_ARGUMENTS = 6  # of a system call
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words a set


@dataclass(frozen=True, slots=True)
class CpuArchitecture:
    """The numbers that differ between CPU architectures: the column of a number in a table of system calls, and its
    AUDIT_ARCH.
    """

    column: int
    audit_arch: int


_ARCHITECTURES = {"x86_64": CpuArchitecture(0, 0xC000003E), "aarch64": CpuArchitecture(1, 0xC00000B7)}
_CAPSET = (126, 91)


def cpu_architecture() -> CpuArchitecture | None:
    """The architecture of this process; None where it is not Linux, or not one whose numbers are known here."""
    return _ARCHITECTURES.get(platform.machine()) if sys.platform.startswith("linux") and sys.maxsize > 2**32 else None


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.syscall.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * _MOST_ARGUMENTS]
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return libc


def system_call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """The result of a system call with up to six integers or buffers; raises OSError where it fails."""
    return _checked(_libc().syscall(number, *arguments, *[0] * (_MOST_ARGUMENTS - len(arguments))))


def prctl(option: int, value: int = 0) -> int:
    """Set an attribute of this process or thread; raises OSError where the kernel refuses."""
    return _checked(_libc().prctl(option, value, 0, 0, 0))


def drop_capabilities() -> None:
    """Give up every capability of this thread: root becomes a user like any other. Raises OSError."""
    known = cpu_architecture()
    assert known is not None
    header = ctypes.create_string_buffer(_CAPABILITY_VERSION.to_bytes(4, sys.byteorder) + bytes(4), 8)
    system_call(_CAPSET[known.column], header, ctypes.create_string_buffer(24))


def make_nondumpable() -> None:
    """Make this process not dumpable: no other one of its user can read its memory or take its descriptors.

    Only its own threads and privileged processes (CAP_SYS_PTRACE) still can. Does nothing but on Linux.
    """
    if sys.platform.startswith("linux"):
        prctl(PR_SET_DUMPABLE, 0)


def collapse_private_memory() -> None:
    """Have the kernel keep this process's private memory in huge pages, where it can (Linux 6.1 and newer).

    A fork copies an entry for each page, and the end of a child drops each: with 50,000 pages of torch that takes
    longer than most experiments. A page that a child writes to is copied alone, 4 KiB, as ever.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, access, *_, name = [*line.split(maxsplit=5), ""][:6]
            if access != "rw-p" or name not in ("", "[heap]"):
                continue
            start, end = (int(bound, 16) for bound in span.split("-"))
            for address in range(-(-start // _HUGE_PAGE) * _HUGE_PAGE, end - _HUGE_PAGE + 1, _HUGE_PAGE):
                _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(_HUGE_PAGE), _MADV_COLLAPSE)


def drop_library_pages(*access: str) -> None:
    """Removes pages of shared libraries from the resident set; those used again are mapped again from the page cache.

    `access` says which mappings, as /proc/self/maps has it: "r-xp" for their code. Importing torch reads 80 MiB of it
    that nothing reads again; a fork does not copy it, either. Pages that this process has changed stay.

    A library is never unmapped. Another file may be, by another thread after its mapping was read here; what then lies
    at its addresses, perhaps a thread's memory, would be lost.
    """
    kinds = "|".join(access)
    with suppress(OSError):
        for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE):
            if re.match(rf"\S+ (?:{kinds}) \S+ \S+ \S+ +/.*\.so[.\d]*\n", mapping) and re.search(
                r"^Anonymous: +0 kB$", mapping, re.MULTILINE
            ):
                start, end = (int(bound, 16) for bound in mapping.split(maxsplit=1)[0].split("-"))
                release_pages(start, end)


def fill_free_memory() -> None:
    """Permanently allocate what is free between used blocks of the C library's memory and of Python's.

    A process that has imported much has thousands of such holes. What its children allocate would be spread over
    them, and each page that it touches first is a fault and a copy; now it lies together. Takes no memory that the
    process did not have, but a few pages.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = _libc()
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    for size in (*(1 << power for power in range(16, 10, -1)), *range(1008, 8, -16)):
        _fill(lambda size=size: libc.malloc(ctypes.c_size_t(size)), size + _MALLOC_HEADER, 8)  # type: ignore[misc]
    for size in range(16, 513, 16):
        in_a_pool = (_POOL - _POOL_HEADER) // size
        _fill(lambda size=size: _keep(_new_object(size)), size, in_a_pool - 2)  # type: ignore[misc]


_KEPT: list[object] = []


def _new_object(size: int) -> object:
    """A new object of `size` bytes, a multiple of 16."""
    if size == 16:
        return object()
    return (1 << 35) + len(_KEPT) if size == 32 else bytes(size - sys.getsizeof(b""))


def _keep(block: object) -> int:
    _KEPT.append(block)
    return id(block)


def _fill(allocate: Callable[[], int], size: int, wanted: int) -> None:
    """Allocate until `wanted` blocks of this size in a row are adjacent, which says that the holes are filled."""
    last = in_a_row = 0
    for _ in range(_MOST_BLOCKS):
        address = allocate()
        in_a_row = in_a_row + 1 if 0 < address - last <= size + _GAP else 0
        if in_a_row >= wanted:
            return
        last = address


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
