"""Pages of mapped files that a process lets go of. What is used again comes back from the kernel's cache of files."""

import ctypes
import mmap
import re
import sys
from functools import cache
from pathlib import Path

HUGE_PAGE = 2 << 20
"""Bytes: the kernel may hold a file in pages of this size, which a process maps 512 times as fast as ordinary ones."""


def kib_in_huge_pages(address: int) -> int:
    """Of the mapping of a file that begins at this address, how many KiB this process has in huge pages (Linux)."""
    found = re.search(
        rf"^{address:x}-(?:.*\n)*?FilePmdMapped: +(\d+) kB", Path("/proc/self/smaps").read_text(), re.MULTILINE
    )
    return int(found[1]) if found else 0


def forget_pages(start: int, end: int) -> None:
    """Take the whole pages between two addresses out of this process. Does nothing but on Linux.

    They must be of a mapped file, and unchanged: what is only in memory would be lost.
    """
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE  # pages that hold anything else are left alone
    length = end // mmap.PAGESIZE * mmap.PAGESIZE - first
    if sys.platform.startswith("linux") and length > 0:
        _libc().madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
