"""Removes pages of mapped files from the resident set of this process; the kernel's page cache still holds them."""

import ctypes
import mmap
import sys
from functools import cache


def forget_pages(start: int, end: int) -> None:
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
