"""Removes pages of mapped files from the resident set of this process; the kernel's page cache still holds them."""

import ctypes
import mmap
import re
import sys
from functools import cache
from pathlib import Path

HUGE_PAGE = 2 << 20
"""The size in bytes of a huge page: the kernel may hold a file in such pages, which a process maps 512 times as fast as
ordinary ones.
"""


def kib_in_huge_pages(address: int) -> int:
    """How many KiB of the file mapping that begins at this address are mapped in huge pages (Linux)."""
    found = re.search(
        rf"^{address:x}-(?:.*\n)*?FilePmdMapped: +(\d+) kB", Path("/proc/self/smaps").read_text(), re.MULTILINE
    )
    return int(found[1]) if found else 0


def release_pages(start: int, end: int) -> None:
    """Calls madvise(MADV_DONTNEED) on the whole pages between two addresses. Does nothing except on Linux.

    The pages must belong to a file mapping and be unmodified: the contents of anonymous or modified pages are lost.
    """
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE  # pages that are only partly in the range hold other data
    length = end // mmap.PAGESIZE * mmap.PAGESIZE - first
    if sys.platform.startswith("linux") and length > 0:
        _libc().madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
