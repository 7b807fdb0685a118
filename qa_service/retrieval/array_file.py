"""Files of several numpy arrays that a process maps into memory, or reads row by row, instead of reading them whole.

A file is an .npz, as `numpy.load` reads it, whose arrays are stored uncompressed and begin at multiples of 64 bytes, so
that they can be used where they lie. Mapped read-only they are in memory once, whatever the number of processes, and
only as far as they are used.

The kernel maps a page together with its fifteen neighbours, so if single rows here and there are used, soon all of the
file is mapped. The rows of such an array (`RowsOnDisk`) are read instead, from the kernel's page cache, which processes
share, too.
"""

import mmap
import os
import struct
import sys
import threading
import weakref
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from qa_service import memory
from qa_service.files import write_atomically

_ALIGNMENT = 64  # bytes
_LOCAL_HEADER = struct.Struct("<26xHH")  # of an archive's member, before its name: lengths of name and extra field
_EXTRA = struct.Struct("<HH")  # of a part of the extra field: kind, length
_PADDING_KIND = 0xD935  # by which Android's zipalign, too, marks padding
_DATE = (1980, 1, 1, 0, 0, 0)
_FEW, _MOSTLY = 4, 0.7  # huge pages that are worth it; their share in what the process has mapped
_KEPT_ROWS = 5120  # those that were asked for most often: 60 of 109 that a question of 20 words asks for
_HALVED_AFTER = 64  # times that rows were asked for, after which earlier times count half


@dataclass(slots=True, eq=False)
class _MappedFile:
    """A file of `map_arrays` that is in use."""

    path: Path
    places: Sequence[int]
    """Where the huge pages begin that hold its arrays, but for those of which rows are read."""
    is_in_huge_pages: bool | None = None
    """None until it has been looked at."""


_mapped: "weakref.WeakKeyDictionary[mmap.mmap, _MappedFile]" = weakref.WeakKeyDictionary()


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes the file, atomically: a process that has mapped the one before keeps it.

    Raises OSError, and ValueError for an array of objects.
    """
    write_atomically(path, lambda temporary: _write(temporary, arrays))


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, given in arrays.items():
            array = np.asarray(given)
            member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            begins = file.tell() + _LOCAL_HEADER.size + len(member.filename.encode())
            padding = -(begins + _EXTRA.size) % _ALIGNMENT
            member.extra = _EXTRA.pack(_PADDING_KIND, padding) + bytes(padding)
            member.file_size = array.nbytes  # decides whether the header has room for sizes beyond 4 GiB
            with archive.open(member, "w", force_zip64=False) as written:
                npy.write_array(written, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


class RowsOnDisk:
    """A two-dimensional array in a file. Its rows are read when they are asked for. May be used from several threads.

    Of an array it has only `rows[numbers]` and `rows[start:stop]`, new arrays of these rows, and `len`; `numpy.asarray`
    reads all of them. Rows that are asked for by their numbers are kept for a while, a range is not.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, int], dtype: "np.dtype[Any]") -> None:
        """`offset` in bytes; rows follow each other there without gaps. Raises OSError."""
        self.shape, self.dtype = shape, dtype
        self._width = shape[1] * dtype.itemsize
        self._file, self._offset = os.open(path, os.O_RDONLY | os.O_CLOEXEC), offset
        weakref.finalize(self, os.close, self._file)
        self._kept = _KeptRows(shape, dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: NDArray[np.integer[Any]] | slice) -> NDArray[Any]:
        """(n, columns): the rows of these numbers, which are not negative. Raises ValueError if the file is cut off."""
        if isinstance(numbers, slice):
            start, stop, _ = numbers.indices(self.shape[0])
            content = os.pread(self._file, (stop - start) * self._width, self._offset + start * self._width)
            return np.frombuffer(content, self.dtype).reshape(stop - start, self.shape[1])
        if len(numbers) > _KEPT_ROWS:
            return self._read(numbers)
        return self._kept.get(numbers, self._read)

    def _read(self, numbers: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """The rows of these numbers from the file."""
        file, width, offset = self._file, self._width, self._offset
        content = b"".join([os.pread(file, width, offset + number * width) for number in numbers.tolist()])
        return np.frombuffer(content, self.dtype).reshape(len(numbers), self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows, as numpy converts its argument to an array."""
        return self[np.arange(self.shape[0])].astype(dtype or self.dtype, copy=False)


class _KeptRows:
    """Up to `_KEPT_ROWS` rows of a table, those that were asked for most often lately. May be used from several
    threads.
    """

    def __init__(self, shape: tuple[int, int], dtype: "np.dtype[Any]") -> None:
        """`shape` and `dtype` are those of the whole table."""
        count = min(_KEPT_ROWS, shape[0])
        self._rows = np.empty((count, shape[1]), dtype)  # the first are used first: memory not used is not made
        self._place_of = np.full(shape[0], -1, dtype=np.int16)  # of each row of the table, among the kept ones
        self._number_of = np.full(count, -1, dtype=np.int32)  # of each kept row, in the table
        self._uses = np.zeros(count, dtype=np.float32)
        self._used = 0  # of the places, from the first on
        self._calls = 0
        self._lock = threading.Lock()

    def get(
        self, numbers: NDArray[np.integer[Any]], read: Callable[[NDArray[np.integer[Any]]], NDArray[Any]]
    ) -> NDArray[Any]:
        """(n, columns): the rows of at most `_KEPT_ROWS` numbers; `read` is called for those that are not kept."""
        with self._lock:
            places = self._place_of[numbers]
            self._uses[places[places >= 0]] += 1
            missing = np.unique(numbers[places < 0])
            if len(missing):
                self._keep(missing, read(missing), places[places >= 0])
                places = self._place_of[numbers]
            self._calls += 1
            if self._calls % _HALVED_AFTER == 0:
                self._uses *= 0.5
            kept: NDArray[Any] = self._rows[places]
            return kept

    def _keep(self, numbers: NDArray[np.integer[Any]], rows: NDArray[Any], needed: NDArray[np.int16]) -> None:
        """Keeps these rows in free places, or in those of the rows that were asked for least, none of `needed`."""
        free = np.arange(self._used, min(self._used + len(numbers), len(self._uses)))
        self._used += len(free)
        if more := len(numbers) - len(free):
            uses = self._uses.copy()
            uses[needed] = np.inf
            uses[free] = np.inf
            least = np.argpartition(uses, more - 1)[:more]
            self._place_of[self._number_of[least]] = -1
            free = np.concatenate([free, least])
        self._rows[free], self._uses[free], self._number_of[free] = rows, 1, numbers
        self._place_of[numbers] = free


def drop_pages(mapped: NDArray[Any]) -> None:
    """Removes the pages of an array in a mapped file from the resident set; one that is used again is mapped again."""
    memory.release_pages(mapped.ctypes.data, mapped.ctypes.data + mapped.nbytes)


def drop_mapped_files(*, also_in_small_pages: bool = False) -> None:
    """Calls `drop_pages` for each file of `map_arrays` that the page cache holds in huge pages.

    With `also_in_small_pages` also for the others, which cost milliseconds to map again, 64 KiB at a time.
    """
    for content, file in [*_mapped.items()]:
        if file.is_in_huge_pages is None and not also_in_small_pages:
            file.is_in_huge_pages = _settle(content, file)
        if file.is_in_huge_pages or also_in_small_pages:
            drop_pages(np.frombuffer(content, np.uint8))


def _settle(content: mmap.mmap, file: "_MappedFile") -> bool:
    """Whether the page cache holds the file in huge pages (Linux, on a file system that supports them).

    If it does not, as after the file was copied, drops the file from the page cache, which works unless another
    process has it mapped, reads it again, and looks once more.
    """
    if not sys.platform.startswith("linux") or len(file.places) < _FEW:
        return False
    address = np.frombuffer(content, np.uint8).ctypes.data
    with suppress(OSError):
        for is_last in (False, True):
            for place in file.places:
                content[place]
            if memory.kib_in_huge_pages(address) >= _MOSTLY * len(file.places) * (memory.HUGE_PAGE >> 10):
                return True
            if is_last:
                return False
            drop_pages(np.frombuffer(content, np.uint8))
            with file.path.open("rb") as cached:
                for place in file.places:
                    os.posix_fadvise(cached.fileno(), place, memory.HUGE_PAGE, os.POSIX_FADV_DONTNEED)
    return False


def map_arrays(path: Path, as_rows: Collection[str] = ()) -> dict[str, Any]:
    """Name → array, read-only, of a file that `save_arrays` wrote; those named in `as_rows` as `RowsOnDisk`.

    Raises OSError or ValueError for any other file.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with suppress(AttributeError, OSError):  # a system without huge pages
                content.madvise(mmap.MADV_HUGEPAGE)  # so that what is not in memory yet is read into them
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(f"{path} is no file of arrays") from error
    named = {member.filename.removesuffix(".npy"): member for member in members}
    arrays = {name: _array(content, member, path, as_rows=name in as_rows) for name, member in named.items()}
    _mapped[content] = _MappedFile(path, _places(content, arrays.values()))
    return arrays


def _places(content: mmap.mmap, arrays: Iterable[Any]) -> list[int]:
    """The offsets, in bytes, of the huge pages that hold the mapped arrays."""
    first, step = np.frombuffer(content, np.uint8).ctypes.data, memory.HUGE_PAGE
    found: set[int] = set()
    for each in arrays:
        if isinstance(each, np.ndarray):
            begins = each.ctypes.data - first
            found.update(range(begins // step * step, begins + each.nbytes, step))
    return sorted(found)


def _array(content: mmap.mmap, member: zipfile.ZipInfo, path: Path, *, as_rows: bool) -> Any:
    """A member's array where it lies in the mapped file, or as `RowsOnDisk`."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{path} is compressed")
    try:
        name, extra = _LOCAL_HEADER.unpack_from(content, member.header_offset)
    except struct.error as error:
        raise ValueError(f"{path} is cut off") from error
    begins = member.header_offset + _LOCAL_HEADER.size + name + extra
    content.seek(begins)
    version = npy.read_magic(content)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read_header is None:
        raise ValueError(f"{path} has arrays of an unknown version")
    shape, is_fortran, dtype = read_header(content)
    if dtype.hasobject or content.tell() + dtype.itemsize * int(np.prod(shape, dtype=np.int64)) > len(content):
        raise ValueError(f"{path} holds no plain arrays")
    if as_rows and len(shape) == 2 and not is_fortran:
        return RowsOnDisk(path, content.tell(), shape, dtype)
    return np.ndarray(shape, dtype, buffer=content, offset=content.tell(), order="F" if is_fortran else "C")
