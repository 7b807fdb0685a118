"""Files of several numpy arrays that a process maps into memory instead of reading.

A file is an .npz, as `numpy.load` reads it, whose arrays are stored uncompressed and begin at multiples of 64 bytes, so
that they can be used where they lie. Mapped read-only they are in memory once, whatever the number of processes, and
only as far as they are used.
"""

import mmap
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from qa_service.files import write_atomically

_ALIGNMENT = 64  # bytes
_LOCAL_HEADER = struct.Struct("<26xHH")  # of an archive's member, before its name: lengths of name and extra field
_EXTRA = struct.Struct("<HH")  # of a part of the extra field: kind, length
_PADDING_KIND = 0xD935  # by which Android's zipalign, too, marks padding
_DATE = (1980, 1, 1, 0, 0, 0)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes the file, atomically: a process that has mapped the one before keeps it.

    Raises OSError, and ValueError for an array of objects.
    """
    write_atomically(path, lambda temporary: _write(temporary, arrays))


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            begins = file.tell() + _LOCAL_HEADER.size + len(member.filename.encode())
            padding = -(begins + _EXTRA.size) % _ALIGNMENT
            member.extra = _EXTRA.pack(_PADDING_KIND, padding) + bytes(padding)
            member.file_size = array.nbytes  # decides whether the header has room for sizes beyond 4 GiB
            with archive.open(member, "w", force_zip64=False) as written:
                npy.write_array(written, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Name → array, read-only, of a file that `save_arrays` wrote. Raises OSError or ValueError for any other file."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(f"{path} is no file of arrays") from error
    return {member.filename.removesuffix(".npy"): _array(content, member, path) for member in members}


def _array(content: mmap.mmap, member: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    """A member's array where it lies in the mapped file."""
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
    return np.ndarray(shape, dtype, buffer=content, offset=content.tell(), order="F" if is_fortran else "C")
